"""Turn HTML into plain-text blocks, with the standard library alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source",
    "track", "wbr",
})  # fmt: skip
_BLOCK = frozenset({
    "address", "article", "aside", "blockquote", "body", "center", "dd", "details", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5",
    "h6", "header", "html", "li", "main", "nav", "ol", "p", "pre", "section", "summary",
    "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
})  # fmt: skip
_UNREAD = frozenset({
    "button", "footer", "head", "header", "math", "nav", "script", "select", "style", "svg",
    "template",
})  # fmt: skip
_CLOSES = {  # an opening tag that ends an element which HTML allows to stay open
    "p": frozenset({"p"}),
    "li": frozenset({"li", "p"}),
    "dt": frozenset({"dt", "dd", "p"}),
    "dd": frozenset({"dt", "dd", "p"}),
    "tr": frozenset({"tr", "td", "th", "p"}),
    "td": frozenset({"td", "th", "p"}),
    "th": frozenset({"td", "th", "p"}),
}
_SCOPE = frozenset({"ul", "ol", "dl", "table", "div", "body", "section"})
_PLAIN = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-",
        "\u2010": "-", "\u2011": "-", "\u2212": "-", "\u2026": "...", "\u00a0": " ", "\u2192": "->",
        "\u2022": "*", "\u00ad": "", "\u200b": "", "\u00b6": "", "\ufeff": "", "\u27e8": "<",
        "\u27e9": ">", "\u21d2": "=>", "\u2032": "'", "\u2033": '"', "\u00b7": "*", "\ue000": "",
    }
)  # fmt: skip


@dataclass(slots=True)
class Node:
    """Hold one element of a parsed page; text children are plain strings."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list["Node | str"] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """Return the element's classes."""
        return self.attributes.get("class", "").split()

    def elements(self) -> Iterator["Node"]:
        """Yield the child elements, without the text between them."""
        return (child for child in self.children if isinstance(child, Node))

    def walk(self) -> Iterator["Node"]:
        """Yield this element and all below it in document order."""
        yield self
        for child in self.elements():
            yield from child.walk()

    def find(self, tag: str = "", class_: str = "", id_: str = "") -> Iterator["Node"]:
        """Yield the elements that have every given tag, class and id."""
        for node in self.walk():
            if tag and node.tag != tag:
                continue
            if class_ and class_ not in node.classes:
                continue
            if id_ and node.attributes.get("id") != id_:
                continue
            yield node


@dataclass(frozen=True, slots=True)
class Block:
    """Hold one paragraph, heading, list entry, table cell or listing."""

    tag: str
    text: str


class _TreeBuilder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("root")
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        closed = _CLOSES.get(tag, frozenset())
        for depth in range(len(self._open) - 1, 0, -1):
            name = self._open[depth].tag
            if name in closed:
                del self._open[depth:]
            elif name in _SCOPE:
                break
        if tag in _BLOCK and self._open[-1].tag == "p":
            self._open.pop()
        node = Node(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(node)
        if tag not in _VOID:
            self._open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        for depth in range(len(self._open) - 1, 0, -1):
            if self._open[depth].tag == tag:
                del self._open[depth:]
                return

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def parse(html: str) -> Node:
    """Parse a page or a fragment; end tags that HTML lets authors omit are supplied."""
    builder = _TreeBuilder()
    builder.feed(html)
    builder.close()
    return builder.root


def plain(text: str) -> str:
    """Write typographic marks in ASCII and collapse white space."""
    return re.sub(r"\s+", " ", text.translate(_PLAIN)).strip()


def inline_text(node: Node, unread: frozenset[str] = frozenset()) -> str:
    """Return all text below a node on one line; classes in `unread` are left out."""
    parts: list[str] = []

    def visit(current: Node) -> None:
        for child in current.children:
            if isinstance(child, str):
                parts.append(child)
            elif child.tag == "br":
                parts.append(" ")
            elif child.tag not in _UNREAD and not unread.intersection(child.classes):
                edge = " " if child.tag in _BLOCK else ""
                parts.append(edge)
                visit(child)
                parts.append(edge)

    visit(node)
    return plain("".join(parts))


def listing_text(node: Node) -> str:
    """Return the text of a `pre` element with its line breaks and indentation."""
    parts: list[str] = []

    def visit(current: Node) -> None:
        for child in current.children:
            if isinstance(child, str):
                parts.append(child)
            else:
                visit(child)

    visit(node)
    lines = "".join(parts).translate(_PLAIN).expandtabs(4).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def blocks(node: Node, unread: frozenset[str] = frozenset()) -> list[Block]:
    """Return the text below a node block by block; classes in `unread` are left out."""
    found: list[Block] = []
    line: list[str] = []

    def flush(tag: str) -> None:
        text = plain("".join(line))
        line.clear()
        if text:
            found.append(Block(tag, text))

    def visit(current: Node) -> None:
        for child in current.children:
            if isinstance(child, str):
                line.append(child)
                continue
            if child.tag in _UNREAD or unread.intersection(child.classes):
                continue
            if child.tag == "br":
                line.append(" ")
            elif child.tag == "pre":
                flush(current.tag)
                if text := listing_text(child):
                    found.append(Block("pre", text))
            elif child.tag in _BLOCK:
                flush(current.tag)
                visit(child)
                flush(child.tag)
            else:
                visit(child)

    visit(node)
    flush(node.tag)
    return found
