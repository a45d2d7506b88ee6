"""What became of the ten frameworks that the lecture named in 2017: dates and licences, each with where it was read.

The keys of `source` are entries of references.bib; None is the package's own entry in the Python Package Index.
Looked up in November 2026.
"""

from math import inf
from typing import NamedTuple

LECTURE, LOOKED_UP = (2017, 8), (2026, 11)  # year, month


class Project(NamedTuple):
    """One framework: who stood behind it, the language its users wrote in, its licence and its last release.

    `behind` is "research", "company" or "foundation", the home it had last. `released` is (year, month), or None
    for a project that never tagged a release.
    """

    name: str
    behind: str
    home: str
    language: str
    licence: str
    version: str
    released: tuple[int, int] | None
    source: str | None


PROJECTS = (
    Project("Caffe", "research", "UC Berkeley", "C++, Python", "BSD-2", "1.0", (2017, 4), "caffe2017release"),
    Project("CNTK", "company", "Microsoft", "Python, C++", "MIT", "2.7", (2019, 4), "cntk2019last"),
    Project(
        "DL4J", "foundation", "Eclipse", "Java", "Apache-2.0", "1.0.0-M2.1", (2022, 8), "dl4j2022release"
    ),
    Project("Keras", "company", "Google", "Python", "Apache-2.0", "3.15.1", (2026, 7), None),
    Project(
        "Lasagne", "research", "its contributors", "Python", "MIT", "0.1", (2015, 8), "lasagne2015release"
    ),
    Project("MXNet", "foundation", "Apache", "many", "Apache-2.0", "1.9.1", (2022, 5), "mxnet2023archived"),
    Project("PaddlePaddle", "company", "Baidu", "Python", "Apache-2.0", "3.3.1", (2026, 3), None),
    Project("TensorFlow", "company", "Google", "Python", "Apache-2.0", "2.21.0", (2026, 3), None),
    Project("Theano", "research", "Mila, Montréal", "Python", "BSD-3", "1.0.5", (2020, 7), "theano2017end"),
    Project("Torch", "research", "NYU, Idiap, …", "Lua", "BSD-3", "none tagged", None, "torch2019status"),
)


def months_since_release(project: Project, now: tuple[int, int] = LOOKED_UP) -> float:
    """How many months before `now`, (year, month), the last release came out; infinity where there was none."""
    if project.released is None:
        return inf
    return 12 * (now[0] - project.released[0]) + now[1] - project.released[1]


def alive(project: Project, *, within: int = 12) -> bool:
    """Whether there was a release in the last `within` months."""
    return months_since_release(project) <= within


def survivors(projects: tuple[Project, ...] = PROJECTS) -> dict[str, tuple[int, int]]:
    """For each kind of home: how many projects are alive, and of how many."""
    kinds = sorted({project.behind for project in projects})
    groups = {kind: [project for project in projects if project.behind == kind] for kind in kinds}
    return {kind: (sum(map(alive, group)), len(group)) for kind, group in groups.items()}
