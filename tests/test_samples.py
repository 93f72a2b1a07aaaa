"""tools/samples.py: the Python programs of the pages pass a user's strict type checkers.

That they all do is checked by `make check`; here, that a fault in one would be found.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from samples import Sample, faults, pages, samples

from .process import ROOT

PAGE = """\
# A page

```python
def first() -> int | None: ...
```

- in a list:

  ```py
  count = 1
  await count
  ```

~~~python
number: int = 1
~~~

<!-- continues -->
```python
number.bit_length().real.nothing
```

```sh
python
```
"""


def test_every_program_of_a_page_is_found() -> None:
    """In lists and with other fences too; each line has its number in the page."""
    found = samples("docs/page.md", PAGE)

    assert [(sample.line, sample.code.splitlines()[0]) for sample in found] == [
        (3, "def first() -> int | None: ..."),
        (9, "count = 1"),
        (14, "number: int = 1"),
    ]
    lines = PAGE.splitlines()
    for sample in found:
        for at, line in enumerate(sample.module.splitlines()[sample.line :], sample.line):
            assert not line or line.strip() == lines[at].strip()
    assert "nothing" in found[2].code


def test_of_the_reference_the_examples_are_programs() -> None:
    """The other blocks are signatures."""
    page = "# x\n\n```python\ndef f() -> int\n```\n\n**Example:**\n\n```python\nprint(await chat.ask('Why?'))\n```\n"

    (found,) = samples("docs/reference/askbot_ws.md", page)
    assert found.module.splitlines()[0] == "from preamble import *"
    assert found.module.splitlines()[8:] == ["async def sample() -> None:", "    print(await chat.ask('Why?'))"]


def test_the_pages_of_users_are_read() -> None:
    """All of them; and those have programs."""
    with_programs = {page for page in pages() if samples(page, (ROOT / page).read_text("utf-8"))}
    assert {"README.md", "docs/clients-python.md", "docs/embedding.md", "docs/protocol.md"} <= with_programs
    assert {"docs/reference/askbot_ws.md", "docs/reference/askbot_ws.client.sync.md"} <= with_programs
    assert {"CONTRIBUTING.md", "client/README.md"} <= set(pages())


@pytest.mark.slow
def test_both_type_checkers_tell_where_a_program_is_wrong(tmp_path: Path) -> None:
    """By the page and its line; what is right is not told."""
    right = Sample("README.md", 5, "print(1)\n")
    wrong = Sample("docs/x.md", 20, "def f(given):\n    return given\n")
    found = faults([right, *samples("docs/page.md", PAGE), wrong], cache=tmp_path)

    by_pyright = {told.split(": ")[0] for told in found if "(pyright: " in told}
    by_mypy = {told.split(": ")[0] for told in found if "(mypy)" in told}
    assert by_pyright == {"docs/page.md:11", "docs/page.md:20", "docs/x.md:21", "docs/x.md:22"}
    assert by_mypy == {"docs/page.md:11", "docs/page.md:20", "docs/x.md:21"}
