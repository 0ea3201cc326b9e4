# A script whose cells Jupyter and editors open as a notebook.

# %% [markdown]
# # A first model
#
# Shapes in memory, a model of a few seconds, and a look at its equilibria. This page is [a
# script](https://github.com/ddeq/ddeq/blob/main/docs/tutorials/first_model.py) in percent
# format: editors run it cell by cell, and `jupytext --to ipynb first_model.py` makes a notebook
# of it. It runs as a test.
#
# ## Clouds
#
# Circles, crosses, squares and triangles of 20 to 40 points each, at random angles and sizes.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from ddeq_data import SyntheticShapes, UnitSphere, collate
from ddeq_models import DDEQClassifier

train, test = (SyntheticShapes(split, count=80, sizes=(20, 40)) for split in ("train", "test"))
names = np.array(train.classes)
labels, unseen = (names[[cloud.label for cloud in part]] for part in (train, test))
print(train)

# %% [markdown]
# A cloud is points and weights. A batch of clouds of different sizes is padded with points of
# weight 0, which nothing looks at.

# %%
batch = collate([test[i] for i in range(4)])
figure, axes = plt.subplots(1, 4, figsize=(8, 2), layout="constrained")
for axis, points, weights, name in zip(axes, batch.points, batch.weights, unseen, strict=False):
    axis.scatter(*points[weights > 0].T, s=8)
    axis.set(title=name, aspect="equal", xticks=[], yticks=[])

# %% [markdown]
# ## A model
#
# `DDEQClassifier` has the manners of scikit-learn. Ten epochs of a small model are a trial;
# with neither `epochs` nor `options` the model is the default one, and trains for 600 steps at
# least.

# %%
small = {"model.dim": 32, "model.particles": 6}
model = DDEQClassifier(epochs=10, normalise="unit-sphere", options=small)
model.fit([cloud.points for cloud in train], labels)
right = model.score([cloud.points for cloud in test], unseen)
print(f"{right:.0%} of unseen clouds; chance is 25%")

# %% [markdown]
# ## Its equilibria
#
# `model_` is the torch module, which sees clouds as the training did: here each in its unit
# sphere. It answers with logits, and with the solution from which they were read: a measure of
# particles for each cloud, the steps to it, and whether it converged.

# %%
seen = batch.map(UnitSphere())
with torch.no_grad():
    output = model.model_(seen.points, seen.weights)
print(output.solution.message(0))
print("steps:", output.solution.steps.tolist())
print("spread:", output.solution.measure.spread(relative=True).tolist())

# %% [markdown]
# The particles of one of them, in the two directions in which they are spread most:

# %%
particles = output.solution.measure.points[0]
print("particles, dimensions:", tuple(particles.shape))
centred = particles - particles.mean(0)
figure, axis = plt.subplots(figsize=(3, 3), layout="constrained")
axis.scatter(*(centred @ torch.linalg.svd(centred)[2][:2].T).T)
axis.set(title=f"particles of a {unseen[0]}", xticks=[], yticks=[])

# %% [markdown]
# ## On
#
# [Clouds in memory](arrays.md) has the rest of the estimator, [from your files to
# labels](your_files.md) the command, [an equilibrium of your own](equilibrium.md) the solver
# alone.
