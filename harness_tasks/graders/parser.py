r"""From tokens to a tree: a recursive descent over the notation of final answers.

Owns the grammar. Refuses to own clean-up (`latex`) and meaning (`compare`). Depth and length are
bounded; a construction that is not known (integrals, sums, cases) is `Unreadable`, never guessed.

Grammar, loosest first: list (`,` `;` and, or), relation, set operation, ratio, sum, product, unary
sign, postfix (`^` `_` `!` `%` prime), primary.

Example: `parse(r"x \in (1, 2]")` is `Node("in", (sym x, group "(]" (1, 2)))`.
"""

from __future__ import annotations

from harness_tasks.graders.factors import Factors
from harness_tasks.graders.latex import clean, join_thousands, tokens
from harness_tasks.graders.names import in_name_order, tuple_size, unnamed
from harness_tasks.graders.nodes import MAX_CHARS, MAX_ITEMS, Node, TooLarge, Unreadable, number
from harness_tasks.graders.notation import (
    BETWEEN,
    CONDITION_WORDS,
    FILLERS,
    JOINERS,
    RELATIONS,
    SET_OPERATORS,
    annotated,
    is_whole,
    sum_of,
)
from harness_tasks.graders.quantities import compound


def parse(answer: str, *, thousands: bool = True) -> Node:
    """Parse an answer; with `thousands` false, `1,234` is read as a list of two numbers.

    Raises:
        Unreadable: it is no mathematics that the grammar knows.
        TooLarge: it is longer or deeper than an answer can be.
    """
    if len(answer) > MAX_CHARS:
        raise TooLarge(f"longer than {MAX_CHARS} characters")
    text = clean(answer)
    return Parser(tokens(join_thousands(text) if thousands else text)).parse()


class Parser(Factors):
    """One pass over one list of tokens."""

    def parse(self) -> Node:
        """Parse all tokens, forgiving closing punctuation and one unbalanced bracket at the end."""
        texts = [token.text for token in self.stream]
        if texts[-1:] == [","] and sum(map(texts.count, "([")) > sum(map(texts.count, ")]")):
            raise Unreadable("stops inside a bracket")
        while (
            self.stream
            and self.stream[-1].text in {".", ",", ";", ":", "!."}
            and self.stream[-1].kind == "op"
        ):
            self.stream = self.stream[:-1]
        if not self.stream:
            raise Unreadable("empty")
        node = self.parse_list()
        while self.peek() in {"}", ")", "]"}:  # `\sqrt{5}}`: a stray closer changes nothing
            self.at += 1
        if self.at < len(self.stream):
            raise Unreadable(f"unexpected {self.stream[self.at].text!r}")
        return node

    # Lists and relations ------------------------------------------------------------------

    def joiner(self) -> str:
        """Return the separator that comes next (",", "and", "or"), taking it; empty when none."""
        joined = ""
        while True:
            token = self.peek()
            word = token[1:-1].strip(" ,").lower() if self.kind() == "word" else ""
            if token in {",", ";", "&", "\\\\"}:
                joined = joined or ","
            elif word in JOINERS or token in {"\\lor", "\\land"}:
                joined = "or" if word.startswith("or") or token == "\\lor" else "and"
            else:
                return joined
            self.at += 1

    def parse_list(self) -> Node:
        """Parse items with separators; a single item is itself."""
        items = [self.parse_relation()]
        joined = ""
        separators: list[str] = []
        while True:
            self.skip_condition()
            separator = self.joiner()
            if not separator:
                break
            joined = separator if separator != "," else joined
            if self.at >= len(self.stream) or self.peek() in {")", "]", "}", "\\}"}:
                break
            if self.skip_condition() and not self.joiner():
                break
            items.append(self.parse_relation())
            separators.append(separator)
            if len(items) > MAX_ITEMS:
                raise TooLarge(f"more than {MAX_ITEMS} items")
        self.skip_condition()
        size = tuple_size(separators, items)
        if size:
            groups = [in_name_order(tuple(items[i : i + size])) for i in range(0, len(items), size)]
            items = [Node("group", unnamed(group), "()") for group in groups]
        node = items[0] if len(items) == 1 else Node("list", tuple(items), joined or ",")
        if self.peek() in {"\\over", "\\choose"}:  # plain TeX: {1 \over 2}
            over = self.next().text == "over"
            rest = self.parse_list()
            return Node("div", (node, rest)) if over else Node("func", (node, rest), "binom")
        return node

    def skip_condition(self) -> bool:
        """Drop "where k is an integer", on both sides of a comparison alike."""
        word = self.peek()[1:-1].strip(" ,").lower() if self.kind() == "word" else ""
        if not word.startswith(CONDITION_WORDS) or self.closers:
            return False
        if self.kind(1) == "number" and any(t.text == "=" for t in self.stream[self.at :]):
            raise Unreadable("a working in words")  # 18 eggs for $2 each = $36
        while self.at < len(self.stream) and self.peek() not in {"<and>", "<or>"}:
            self.at += 1
        return True

    def parse_relation(self) -> Node:
        r"""Parse `a < b \\le c`, `x \\in S`, "Minimum: 1" or a plain expression."""
        while self.kind() == "word" and self.stream[self.at].text.lower() in FILLERS:
            self.at += 1
        label = self.take_label()
        parts = [self.parse_sets()]
        ops: list[str] = []
        while self.peek() in RELATIONS or self.peek() == "\\not":
            negated = self.peek() == "\\not"
            self.at += negated
            op = RELATIONS.get(self.peek(), "?")
            self.at += 1
            ops.append({"=": "!=", "in": "notin"}.get(op, "?") if negated else op)
            if op in {"<", ">"} and self.peek() == "=":  # `> =`
                ops[-1] += self.next().text
            parts.append(self.parse_sets())
        if not ops:
            return Node("rel", (Node("text", text=label), parts[0]), "=") if label else parts[0]
        if ops == ["in"]:
            return Node("in", tuple(parts))
        return Node("rel", tuple(parts), " ".join(ops))

    def take_label(self) -> str:
        """Take a leading "Minimum:", "Option", "Answer =": a name for the value behind it."""
        end = self.at
        while end < len(self.stream) and self.stream[end].kind == "word":
            end += 1
        words = [token.text.strip().lower() for token in self.stream[self.at : end]]
        if not words:
            return ""
        last = words[-1]
        closing = self.stream[end].text if end < len(self.stream) else ""
        if closing in {":", "="} and not any(w in JOINERS for w in words):
            self.at = end + 1
        elif last.endswith((":", "=")):
            self.at = end
        else:
            return ""
        return " ".join(words).rstrip(" :=")

    def parse_sets(self) -> Node:
        """Parse unions, intersections and differences of sets."""
        left = self.parse_ratio()
        while self.peek() in SET_OPERATORS:
            kind = SET_OPERATORS[self.peek()]
            self.at += 1
            left = Node(kind, (left, self.parse_ratio()))
        return left

    def parse_ratio(self) -> Node:
        """Parse `a:b:c`; in a set `{x : ...}` the colon is left to the set."""
        parts = [self.parse_quantity()]
        word = ""
        while (
            self.peek() == ":" and "\\}" not in self.closers[-1:]
        ) or self.peek().lower() == "<to>":
            word = word or self.next().text.strip(":").lower()
            parts.append(self.parse_quantity())
        return parts[0] if len(parts) == 1 else Node("ratio", tuple(parts), word)

    # Quantities ---------------------------------------------------------------------------

    def parse_quantity(self) -> Node:
        """Parse a sum and the unit or noun behind it."""
        node = self.parse_sum()
        words: list[str] = []
        while True:
            word = self.peek()[1:-1].strip().lower() if self.kind() == "word" else None
            if word is None:
                if words and self.peek() == "^" and self.kind(1) == "number":
                    words.append(self.peek(1))
                    self.at += 2
                    continue
                if words and self.peek() == "^" and self.peek(1) == "{" and self.peek(3) == "}":
                    words.append(self.peek(2))
                    self.at += 4
                    continue
                if self.peek() == "/" and (
                    self.kind(1) == "word" or (words and self.kind(1) == "symbol")
                ):
                    words += ["/", self.stream[self.at + 1].text]
                    self.at += 2
                    continue
                break
            if word == "to" and self.kind(1) in {"number", "command"}:
                break  # 3 to 5
            if word.strip(" ,") in JOINERS or word.startswith(
                (*CONDITION_WORDS, "and ", "or ", ",", "if ")
            ):
                break
            self.at += 1
            words.append(word)
            if word == "base" and self.kind() == "number":
                words.append(self.next().text)
        if not words:
            return node
        node = annotated(node, words)
        if self.kind() != "number":
            return node
        behind = self.at
        whole = compound((node, self.parse_quantity()))  # 2 hours 15 minutes
        self.at = self.at if whole else behind
        return whole or node

    def parse_sum(self) -> Node:
        r"""Parse terms with `+ - \\pm \\mp`."""
        self.enter()
        terms = [self.parse_product()]
        while self.peek() in {"+", "-", "\\pm", "\\mp"}:
            op = self.next().text
            term = self.parse_product()
            if op in {"pm", "mp"}:
                terms = [Node("pm", (sum_of(terms), term), op)]
            else:
                terms.append(Node("neg", (term,)) if op == "-" else term)
        self.depth -= 1
        return sum_of(terms)

    def parse_product(self) -> Node:
        r"""Parse factors with `* / \\times \\cdot \\div` and juxtaposition, and mixed numbers."""
        left = self.parse_unary()
        while True:
            token = self.peek()
            if token in {"*", "\\times", "\\cdot"}:
                self.at += 1
                left = Node("mul", (left, self.parse_unary()))
            elif token in {"/", "\\div"}:
                if token == "/" and self.kind(1) == "word":
                    break
                self.at += 1
                left = Node("div", (left, self.parse_unary()))
            elif self.starts_primary():
                left = self.juxtapose(left)
            else:
                return left
        return left

    def juxtapose(self, left: Node) -> Node:
        """Multiply by what stands beside, or add it where the two are a mixed number."""
        whole = left.args[0] if left.kind == "neg" else left
        spaced = self.stream[self.at].spaced
        mixed = whole.kind == "num" and whole.number is not None and whole.number.denominator == 1
        fraction_follows = self.peek() == "\\frac"
        applied = (
            self.peek() == "(" and self.kind(1) in {"symbol", "number"} and self.peek(2) == ")"
        )
        right = self.parse_postfix()
        if mixed and right.kind in {"percent", "degree"} and right.args[0].kind == "div":
            total = Node("add", (whole, right.args[0]), "mixed")  # 12\frac12\%
            return Node(right.kind, (Node("neg", (total,)) if left.kind == "neg" else total,))
        if mixed and self.peek() == "/" and is_whole(right) and spaced and self.kind(1) == "number":
            self.at += 1
            right = Node("div", (right, self.parse_postfix()))
            fraction_follows = True
        if mixed and fraction_follows and right.kind == "div" and all(map(is_whole, right.args)):
            total = Node("add", (whole, right), "mixed")
            return Node("neg", (total,)) if left.kind == "neg" else total
        if whole.kind == "num" and right.kind == "num":
            raise Unreadable("two numbers side by side")
        if left.kind == "degree" and right.kind == "num" and self.peek() == "'":
            self.at += 1  # 60^\circ 30'
            return Node("add", (left, Node("degree", (Node("div", (right, number(60))),))))
        return Node("mul", (left, right), "applied" if applied and left.kind == "sym" else "beside")

    def starts_primary(self) -> bool:
        """Tell whether a factor can begin here without an operator."""
        token, kind = self.peek(), self.kind()
        if kind in {"number", "repeating", "symbol"} or token in {"(", "[", "{", "\\{"}:
            return True
        if token == "|":
            return self.bars == 0 and "\\}" not in self.closers[-1:]
        if kind != "command":
            return False
        if token in RELATIONS or token in SET_OPERATORS or token.startswith("\\end:"):
            return False
        return token[1:] not in BETWEEN

    def parse_unary(self) -> Node:
        """Parse signs before a factor."""
        token = self.peek()
        if token in {"+", "-", "\\pm", "\\mp"}:
            self.enter()
            self.at += 1
            inner = self.parse_unary()
            self.depth -= 1
            if token == "-":
                return Node("neg", (inner,))
            return inner if token == "+" else Node("pm", (number(0), inner), token[1:])
        return self.parse_postfix()
