r"""The lower half of the grammar: factors, their powers and subscripts, and their parts.

Owns postfix notation, symbols, brackets, commands, functions, roots and matrices. Refuses to own
products and what is looser (`parser`), which it reaches through the three methods left open here.

Example: `\sqrt[3]{2}`, `v_0^2`, `60^\circ` and `\begin{pmatrix}1\\2\end{pmatrix}` are factors.
"""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction

from harness_tasks.graders.latex import FUNCTIONS, Token
from harness_tasks.graders.nodes import MAX_ITEMS, Node, TooLarge, Unreadable, number
from harness_tasks.graders.notation import (
    ACCENTS,
    BRACKETS,
    CONSTANTS,
    DEGREE_WORDS,
    GREEK_NAMES,
    MATRICES,
    NUMBER_WORDS,
    OPAQUE,
    ORDINALS,
    PERCENT_WORDS,
    UNKNOWN_FUNCTIONS,
    Stream,
    bracketed,
    is_whole,
    numeral,
    repeating,
)
from harness_tasks.graders.units import SCALES

# Each is written out term by term at every test point.
MAX_SERIES = 4


class Factors(Stream):
    """The part of the parser that reads one factor."""

    @abstractmethod
    def parse_list(self) -> Node:
        """Parse items with separators."""

    @abstractmethod
    def parse_relation(self) -> Node:
        """Parse a relation or an expression."""

    @abstractmethod
    def parse_sum(self) -> Node:
        """Parse a sum."""

    @abstractmethod
    def parse_product(self) -> Node:
        """Parse a product."""

    @abstractmethod
    def parse_unary(self) -> Node:
        """Parse a factor with its sign."""

    @abstractmethod
    def starts_primary(self) -> bool:
        """Tell whether a factor can begin here."""

    @abstractmethod
    def juxtapose(self, left: Node) -> Node:
        """Join with the factor beside."""

    def parse_postfix(self) -> Node:
        """Parse a primary with powers, subscripts, factorials, primes and percent signs."""
        self.enter()
        node = self.parse_primary()
        while True:
            token = self.peek()
            if token in {"^", "**"}:
                self.at += 1
                node = self.parse_power(node)
            elif token == "_":
                self.at += 1
                node = self.parse_subscript(node)
            elif token == "!":
                self.at += 1
                node = Node("fact", (node,))
            elif token == "'" and node.kind in {"sym", "call"}:
                self.at += 1
                node = Node(node.kind, node.args, node.text + "'")
            elif token == "%" or (self.kind() == "word" and token[1:-1].lower() in PERCENT_WORDS):
                self.at += 1
                node = Node("percent", (node,))
            elif token == "\\circ" or (
                self.kind() == "word" and token[1:-1].lower() in DEGREE_WORDS
            ):
                self.at += 1
                node = Node("degree", (node,))
            elif self.kind() == "word" and token[1:-1].lower() in SCALES and node.kind == "num":
                scale = SCALES[self.next().text.lower()]
                node = Node("mul", (node, number(scale)))
            elif self.kind() == "word" and token[1:-1] in ORDINALS and is_whole(node):
                self.at += 1
            else:
                self.depth -= 1
                return node

    def parse_power(self, base: Node) -> Node:
        """Parse an exponent: a number, a degree sign, a prime or "th"."""
        if base.kind == "const" and base.text in {"R", "Z", "N", "Q"}:
            return self.parse_half_line(base)
        if self.at >= len(self.stream):
            return Node("degree", (base,))  # a bare `90^` at the end: a lost `\circ`
        if self.peek() == "{":
            self.at += 1
            self.closers.append("}")
            inner = self.peek()
            if inner in {"\\circ", "\\prime"} or (
                self.peek(1) == "}" and inner.strip("<>") in ORDINALS
            ):
                self.at += 1
                exponent = Node("text", text=inner.strip("\\<>"))
            else:
                exponent = self.parse_list()
            self.closers.pop()
            self.expect("}")
        elif self.peek() in {"\\circ", "\\prime"} or (
            self.kind() == "word" and self.stream[self.at].text.strip() in ORDINALS
        ):
            exponent = Node("text", text=self.next().text)
        elif self.peek() in {"+", "-"}:
            self.at += 1
            if self.stream[self.at - 1].text == "+" and self.at >= len(self.stream):
                return base
            inner_node = self.parse_argument()
            exponent = (
                Node("neg", (inner_node,)) if self.stream[self.at - 2].text == "-" else inner_node
            )
        elif self.peek() == "'":
            self.at += 1
            exponent = Node("text", text="prime")
        elif self.kind() == "number":  # `x^10`: TeX would take the 1 alone, nobody means that
            exponent = self.parse_primary()
        else:
            exponent = self.parse_argument()
        if exponent.kind == "text":
            if exponent.text == "circ":
                return Node("degree", (base,))
            if exponent.text == "prime":
                return Node(base.kind, base.args, base.text + "'", base.number)
            return base  # 11^{th}
        if base.kind == "func" and not base.args:
            return Node("func", (exponent,), base.text)
        return Node("pow", (base, exponent))

    def parse_half_line(self, base: Node) -> Node:
        r"""Parse the sign of `\mathbb{R}^+`; powers and signs of other sets are not read."""
        sign = self.parse_sign_group()
        if base.text != "R" or sign not in {"+", "-"}:
            raise Unreadable("a power of a set")
        infinity = Node("inf")
        if sign == "+":
            return Node("group", (number(0), infinity), "()")
        return Node("group", (Node("neg", (infinity,)), number(0)), "()")

    def parse_sign_group(self) -> str:
        """Take one sign, in braces or not."""
        braced = self.peek() == "{"
        self.at += braced
        sign = self.next().text
        if braced:
            self.expect("}")
        return sign

    def parse_subscript(self, base: Node) -> Node:
        """Parse a subscript: part of a symbol's name, or the base of a numeral."""
        start = self.at
        if self.peek() == "{":
            level = 0
            while self.at < len(self.stream):
                level += (self.peek() == "{") - (self.peek() == "}")
                self.at += 1
                if level == 0:
                    break
            inside = self.stream[start + 1 : self.at - 1]
        else:
            inside = [self.next()]
        name = "".join(token.text for token in inside)
        if base.kind == "num":
            radix = NUMBER_WORDS.get(
                name.lower(),
                int(name) if name.isascii() and name.isdigit() and len(name) < 3 else 0,
            )
            if not 2 <= radix <= 36:
                raise Unreadable(f"base {name!r}")
            return Node("base", text=base.text, number=Fraction(radix))
        if base.kind == "pow" and base.args[0].kind == "sym":  # v^2_0
            return Node("pow", (Node("sym", text=f"{base.args[0].text}_{name}"), base.args[1]))
        if base.kind in {"sym", "call"}:
            return Node(base.kind, base.args, f"{base.text}_{name}")
        if base.kind in {"const", "mul"} or (base.kind == "group" and name):
            return Node("sym", text=f"{base.text or base.kind}_{name}")
        raise Unreadable("subscript")

    def parse_argument(self) -> Node:
        """Parse one argument of a command: a group, a one-digit number or one token."""
        if self.peek() == "{":
            self.at += 1
            self.closers.append("}")
            node = self.parse_list()
            self.closers.pop()
            self.expect("}")
            return node
        if self.kind() == "number" and len(self.peek()) > 1 and self.peek().isdigit():
            token = self.stream[self.at]
            self.stream[self.at : self.at + 1] = [
                Token("number", token.text[0], token.spaced),
                Token("number", token.text[1:], False),
            ]
        return self.parse_primary()

    def parse_primary(self) -> Node:
        """Parse a number, symbol, command or bracket."""
        token = self.next()
        if token.kind in {"number", "symbol"} and (lettered := self.lettered_numeral()):
            return lettered
        if token.kind == "number":
            return numeral(token.text)
        if token.kind == "repeating":
            return repeating(token.text)
        if token.kind == "symbol":
            return self.parse_symbol(token)
        if token.kind == "command":
            return self.parse_command(token)
        if token.kind == "word":
            if token.text.lower() in NUMBER_WORDS and self.at == len(self.stream) == 1:
                return number(NUMBER_WORDS[token.text.lower()])
            raise Unreadable(f"word {token.text!r}")
        if token.text in {"(", "[", "{", "\\{"}:
            return self.parse_bracket(token.text)
        if token.text == "|":
            self.bars += 1
            self.closers.append("|")
            inner = self.parse_sum()
            self.closers.pop()
            self.expect("|")
            self.bars -= 1
            return Node("func", (inner,), "abs")
        if token.text in {"%", "&"}:
            return self.parse_primary()
        raise Unreadable(f"unexpected {token.text!r}")

    def parse_symbol(self, token: Token) -> Node:
        """Parse a letter, applied where it names a function: `f(x)`, `C(n, k)`."""
        if token.text == "e":
            return Node("const", text="e")
        name = token.text
        if name in UNKNOWN_FUNCTIONS:
            while self.peek() == "'":
                self.at += 1
                name += "'"
            if self.peek() == "_":
                self.at += 1
                name = self.parse_subscript(Node("sym", text=name)).text
            if self.peek() == "(":
                self.at += 1
                inner = self.parse_bracket("(")
                arguments = inner.args if inner.kind in {"group", "list"} else (inner,)
                return Node("call", arguments, name)
        return Node("sym", text=name)

    def parse_bracket(self, opener: str) -> Node:
        """Parse what a bracket encloses: a plain group, a tuple, an interval or a set."""
        self.enter()
        closers = {"(": (")", "]"), "[": ("]", ")"), "{": ("}",), "\\{": ("\\}", "}")}[opener]
        bars, self.bars = self.bars, 0
        self.closers.append(closers[0])
        if self.peek() in closers:
            inner: Node | None = None
        else:
            inner = self.parse_list()
            if opener == "\\{" and self.peek() in {"|", "\\mid", ":"}:
                self.at += 1
                self.closers[-1] = "cond"
                inner = Node("builder", (inner, self.parse_list()))
        self.closers.pop()
        self.bars = bars
        closer = self.peek() or closers[0]
        if closer not in closers:
            raise Unreadable(f"{opener!r} closed by {closer!r}")
        self.at += self.at < len(self.stream)
        self.depth -= 1
        return bracketed(opener, closer, inner)

    def parse_command(self, token: Token) -> Node:
        """Parse a LaTeX command that begins a value."""
        name = token.text
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in GREEK_NAMES or name in OPAQUE:
            return Node("sym", text="\\" + name)
        if name == "frac":
            return Node("div", (self.parse_argument(), self.parse_argument()))
        if name == "binom":
            return Node("func", (self.parse_argument(), self.parse_argument()), "binom")
        if name in {"sqrt", "cbrt"}:
            return self.parse_root(name)
        if name in BRACKETS:
            return self.parse_fence(*BRACKETS[name])
        if name in FUNCTIONS:
            return self.parse_function(name)
        if name in ACCENTS:
            return self.parse_argument()
        if name.startswith("begin:") and name[6:] in MATRICES:
            return self.parse_matrix(name[6:])
        if name in {"sum", "prod"}:
            return self.parse_series(name)
        if name in {"i", "e", "mathrm"}:
            return Node("const", text="e") if name == "e" else Node("sym", text="i")
        raise Unreadable(f"command \\{name}")

    def parse_root(self, name: str) -> Node:
        r"""Parse a square root or `\\sqrt[n]{...}`."""
        index = number(3 if name == "cbrt" else 2)
        if self.peek() == "[" and name == "sqrt":
            self.at += 1
            self.closers.append("]")
            index = self.parse_sum()
            self.closers.pop()
            self.expect("]")
        if self.kind() == "number":  # `√162` and `\sqrt 2` alike: all digits belong to the root
            return Node("func", (self.parse_primary(), index), "root")
        return Node("func", (self.parse_argument(), index), "root")

    def parse_fence(self, closer: str, what: str) -> Node:
        """Parse floor, ceiling and angle brackets."""
        self.closers.append("\\" + closer)
        inner = self.parse_list()
        self.closers.pop()
        self.expect("\\" + closer)
        if what == "<>":
            return Node("group", inner.args if inner.kind == "list" else (inner,), "<>")
        return Node("func", (inner,), what)

    def parse_function(self, name: str) -> Node:
        r"""Parse a named function with power, base and argument: `\\sin^2 x`, `\\log_2 8`."""
        power: Node | None = None
        base: Node | None = None
        for _ in range(2):
            if self.peek() in {"^", "**"}:
                self.at += 1
                power = self.parse_power(Node("func", (), name)).args[0]
            elif self.peek() == "_":
                self.at += 1
                base = self.parse_argument()
        if self.peek() in {"(", "[", "{", "\\{"}:
            inner = self.parse_bracket(self.next().text)
            arguments = inner.args if inner.kind in {"group", "set", "list"} else (inner,)
        elif self.peek() == "|":
            arguments = (self.parse_primary(),)
        else:
            arguments = (self.parse_operand(),)
        if name == "log" and base is not None:
            arguments = (*arguments, base)
        if (
            power is not None
            and power.kind == "neg"
            and power.args[0].number == 1
            and name in {"sin", "cos", "tan"}
        ):
            return Node("func", arguments, "a" + name)
        node = Node("func", arguments, name)
        return node if power is None else Node("pow", (node, power))

    def parse_operand(self) -> Node:
        """Parse the argument of a function without brackets: factors up to the next function."""
        if self.peek() in {"-", "+"}:
            return self.parse_unary()
        left = self.parse_postfix()
        while (
            self.starts_primary()
            and self.peek() not in {"(", "[", "\\{"}
            and self.peek()[1:] not in FUNCTIONS
        ):
            left = self.juxtapose(left)
            if self.peek() == "/" and self.kind(1) == "number":
                self.at += 1
                left = Node("div", (left, self.parse_postfix()))
        if self.peek() == "/" and self.kind(1) in {"number", "symbol"} and left.kind != "func":
            self.at += 1
            left = Node("div", (left, self.parse_postfix()))
        return left

    def parse_series(self, name: str) -> Node:
        r"""Parse `\sum_{k=1}^{n} body`, either bound first."""
        self.n_series += 1
        if self.n_series > MAX_SERIES:
            raise Unreadable("many series")
        start: Node | None = None
        stop: Node | None = None
        for _ in range(2):
            operator = self.next().text
            if operator == "_":
                start = self.parse_argument()
            elif operator == "^":
                stop = self.parse_argument()
        if start is None or stop is None or start.kind != "rel" or start.text != "=":
            raise Unreadable("a series without bounds")
        variable, low = start.args
        if variable.kind != "sym":
            raise Unreadable("a series over no variable")
        return Node("series", (variable, low, stop, self.parse_product()), name)

    def parse_matrix(self, name: str) -> Node:
        """Parse the rows and cells of a matrix environment."""
        rows: list[Node] = []
        cells: list[Node] = []
        end = "\\end:" + name
        self.closers.append(end)
        while True:
            token = self.peek()
            if token in {"", end, "\\\\"}:
                if cells:
                    rows.append(Node("row", tuple(cells)))
                    cells = []
                self.at += 1
                if token != "\\\\":
                    break
            elif token == "&":
                self.at += 1
            else:
                cells.append(self.parse_relation())
            if len(rows) * max(len(cells), 1) > MAX_ITEMS or len(rows) > MAX_ITEMS:
                raise TooLarge("matrix too large")
        self.closers.pop()
        if len({len(row.args) for row in rows}) != 1:
            raise Unreadable("ragged matrix")
        if name in {"vmatrix", "Vmatrix"}:
            return Node("func", (Node("matrix", tuple(rows)),), "det")
        return Node("matrix", tuple(rows))
