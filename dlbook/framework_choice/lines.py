"""Lines of code, counted: lines that hold a token of code, so that comments, docstrings and blank lines are free."""

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Callable
from types import ModuleType

SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def count(code: str | Callable | ModuleType) -> int:
    """The number of lines of code in a text of Python, a function, a class or a module.

    Raises SyntaxError for text that is not Python, TypeError for an object without source.
    """
    text = code if isinstance(code, str) else inspect.getsource(code)
    text = textwrap.dedent(text)
    free, spoken = docstring_lines(text), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SILENT:
            spoken |= set(range(token.start[0], token.end[0] + 1))
    return len(spoken - free)


def docstring_lines(text: str) -> set[int]:
    """The numbers of the lines that belong to docstrings and to other strings that stand alone."""
    alone = (
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
    return {line for node in alone for line in range(node.lineno, node.end_lineno + 1)}
