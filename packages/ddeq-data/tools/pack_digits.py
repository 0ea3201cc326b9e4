"""Make `src/ddeq_data/data/digits.npz` from scikit-learn's copy of the UCI digits.

Run from anywhere, with scikit-learn installed: `python tools/pack_digits.py [OUT]`. The same
content comes out each time: the split is fixed by arithmetic, and by the seed below.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from ddeq_data import stratified_holdout

SEED = 0
TEST, VALIDATION = 360, 180
OUT = Path(__file__).parent.parent / "src" / "ddeq_data" / "data" / "digits.npz"


def pack(out: Path) -> None:
    """Write images (1797, 8, 8), labels (1797,) and split codes (1797,), all uint8.

    The codes are 0 train, 1 validation, 2 test. The test part is drawn first, stratified, from
    all digits, then the validation part, stratified, from the others.
    """
    digits = load_digits()
    labels = torch.from_numpy(digits.target.astype(np.int64))
    split = torch.zeros(len(labels), dtype=torch.uint8)
    split[stratified_holdout(labels, TEST, SEED)] = 2
    others = (split == 0).nonzero().flatten()
    split[others[stratified_holdout(labels[others], VALIDATION, SEED)]] = 1
    np.savez_compressed(
        out,
        images=digits.images.astype(np.uint8),
        labels=digits.target.astype(np.uint8),
        split=split.numpy(),
    )
    print(f"{out}: {out.stat().st_size:,} bytes, split {torch.bincount(split).tolist()}")


if __name__ == "__main__":
    pack(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
