"""A docstring's equations, which are readable text, set as mathematics: the source stays one."""

import re

GREEK = "alpha beta gamma delta tau theta rho sigma omega lambda".split()
FUNCTIONS = "exp log ln sqrt relu round clamp Re".split()
PROSE = {"where", "all", "three", "times"}
SIGNS = {"*": r"\,", "<-": r"\leftarrow", "->": r"\to", "~": r"\sim", "{": r"\{", "}": r"\}"}
TOKEN = re.compile(r"d(?P<of>[A-Za-z]+)/dt|[A-Za-z]\w*|\d[\d.]*|\^\s*\w+|<-|->|\s{3,}|\s+|.")


def name(word: str) -> str:
    """A variable: Greek where it is, upright where it is a word, what follows `_` below it."""
    head, _, below = word.partition("_")
    if head in GREEK:
        head = f"\\{head}"
    elif len(head) > 1:
        return r"\mathrm{" + word.replace("_", r"\_") + "}"
    return head + (f"_{{{name(below)}}}" if below else "")


def line(text: str) -> str:
    """One equation in LaTeX, aligned at its first sign of equality."""
    label, body = match.groups() if (match := re.match(r"(?:(\w+):\s+)?(.*)", text)) else (None, text)
    out = [] if " = " in body else ["&"]
    aligned = False
    for match in TOKEN.finditer(body):
        token = match[0]
        if match["of"]:
            out.append(rf"\frac{{\mathrm{{d}}{match['of']}}}{{\mathrm{{d}}t}}")
        elif token in PROSE:
            out.append(rf"\text{{ {token} }}")
        elif token in FUNCTIONS:
            out.append(r"\operatorname{" + token + "}")
        elif token[0].isalpha():
            out.append(name(token))
        elif token.startswith("^"):
            out.append("^{" + token[1:].strip() + "}")
        elif token == "=":
            left, right = body[: match.start()].strip(), body[match.end() :].split(";")[0]
            updates = left.isidentifier() and re.search(rf"\b{left}\b", right)
            out.append(("" if aligned else "&") + (r"\leftarrow" if updates else "="))
            aligned = True
        elif token.isspace():
            out.append(r"\qquad " if len(token) > 2 else " ")
        else:
            out.append(SIGNS.get(token, token))
    return "".join(out) + (rf"\qquad \text{{({label})}}" if label else "")


def typeset(app, what, fullname, obj, options, lines: list[str]) -> None:
    """Turn the first literal block of a class's docstring into mathematics, if it is one of ours with equations."""
    if what != "class" or not obj.__module__.startswith("snntorch._neurons"):
        return
    start = next((i for i, text in enumerate(lines) if text.endswith("::")), None)
    if start is None or "->" in lines[start + 2]:
        return
    end = next(i for i in range(start + 2, len(lines)) if lines[i] and not lines[i].startswith(" "))
    block = [part.strip() for text in lines[start + 2 : end] if text for part in re.split(r"\s{3,}(?=\w+: )", text)]
    block = [text for text in block if text]
    rows = r" \\ ".join(map(line, block))
    lines[start:end] = [
        lines[start][:-1] if lines[start] != "::" else "",
        "",
        ".. math::",
        "",
        rf"   \begin{{align*}} {rows} \end{{align*}}",
        "",
    ]


def setup(app):
    app.connect("autodoc-process-docstring", typeset, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
