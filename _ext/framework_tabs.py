"""Neighbouring code cells tagged `numpy`, `tensorflow` and `torch` become tabs, code and output together.

A cell stays a cell in Jupyter, where the three follow one another and nbval runs them all. In the HTML a run of them
is one set of tabs; the choice holds for all sets of the page and is remembered on the next page.
"""

from itertools import groupby

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx_design.shared import create_component
from sphinx_design.tabs import sd_tab_label

LABELS = {"numpy": "NumPy", "tensorflow": "TensorFlow", "torch": "PyTorch"}


def framework(node: nodes.Node) -> str | None:
    """The framework that a code cell is tagged with; None for any other node."""
    if not isinstance(node, nodes.container) or node.get("nb_element") != "cell_code":
        return None
    return next((name for name in LABELS if f"tag_{name}" in node["classes"]), None)


def tab_item(name: str, cells: list[nodes.Node]) -> nodes.Node:
    label = nodes.rubric(LABELS[name], LABELS[name], classes=["sd-tab-label"])
    label["sync_group"], label["sync_id"] = "framework", name
    content = create_component("tab-content", classes=["sd-tab-content"], children=cells)
    return create_component("tab-item", classes=["sd-tab-item"], children=[label, content])


def tab_set(cells: list[nodes.Node]) -> nodes.Node:
    """Tabs in the order in which the frameworks first appear; cells of one framework share a tab."""
    names = dict.fromkeys(map(framework, cells))
    items = [tab_item(name, [cell for cell in cells if framework(cell) == name]) for name in names]
    return create_component("tab-set", classes=["sd-tab-set", "framework-tabs"], children=items)


class FrameworkTabs(SphinxTransform):
    """Wrap every run of neighbouring framework cells. A run of a single framework is left as it is."""

    default_priority = 600

    def apply(self) -> None:
        parents = dict.fromkeys(node.parent for node in self.document.findall(framework))
        for parent in parents:
            children = []
            for is_run, run in groupby(parent.children, key=lambda node: framework(node) is not None):
                cells = list(run)
                wrap = is_run and len(set(map(framework, cells))) > 1
                children += [tab_set(cells)] if wrap else cells
            parent.children = []
            parent.extend(children)


class NoAriaControls(SphinxPostTransform):
    """`aria-controls` is not allowed on a label; the radio button that it labels does the work."""

    default_priority = 201  # after sphinx-design has made the labels

    def run(self, **kwargs) -> None:
        for label in self.document.findall(sd_tab_label):
            label.attributes.pop("aria_controls", None)


def setup(app) -> dict:
    app.add_transform(FrameworkTabs)
    app.add_post_transform(NoAriaControls)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
