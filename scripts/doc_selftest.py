"""Tests doc_test.py: a false statement is reported with its line, the command, and the expected output."""

import contextlib
import io
import os
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

import doc_test
from doc_blocks import Untrue, compare

FENCE = "```"


def told(text):
    """What is reported about a document."""
    with tempfile.NamedTemporaryFile("w", suffix=".md", dir=doc_test.ROOT / ".build", prefix="doc-") as file:
        file.write(text.replace("~~~", FENCE))
        file.flush()
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            good = doc_test.test(Path(file.name))
        name = str(Path(file.name).relative_to(doc_test.ROOT))
        return good, output.getvalue().replace(name, "D")


class Documents(unittest.TestCase):
    def check(self, text, *expected):
        good, output = told(text)
        self.assertFalse(good, output)
        for each in expected:
            self.assertIn(each, output)

    def test_one_that_is_true(self):
        good, output = told(
            "~~~sh up\ncortex up\n~~~\n~~~text\ngateway   http://127.0.0.1:8889  …\n…\n~~~\n"
            "~~~sh\nx=5; cd /\n~~~\n~~~sh\npwd; echo $x\n~~~\n~~~text\n/\n5\n~~~\n"
            "~~~sh\ncortex env list --output json | grep -c http://127.0.0.1:8888\n~~~\n~~~text\n1\n~~~\n"
            "~~~python\nprint(1)\n~~~\n~~~text\n1\n~~~\n`cortex get hello -o json` and `cortex desc a`\n"
        )
        self.assertTrue(good, output)
        self.assertIn("5 run, 4 compared", output)

    def test_a_command_that_fails(self):
        self.check(
            "text\n\n~~~sh\necho before\ncortex get not-there   # why\necho after\n~~~\n",
            "D:5: this command failed with exit status 1:\n    cortex get not-there   # why\nit wrote:\n    before\n    error: no API",
        )

    def test_a_pipe_that_fails_in_its_middle(self):
        self.check("~~~sh\ntrue\nfalse | cat\n~~~\n", "D:3: this command failed with exit status 1:\n    false | cat")

    def test_a_wrong_output(self):
        self.check(
            "~~~sh\nseq 3\n~~~\n~~~text\n1\n…\n4\n~~~\n", "D:7: expected: 4\nthe output was:\n    1\n    2\n    3\n"
        )
        self.check("~~~sh\nseq 3\n~~~\n~~~text\n1\n2\n~~~\n", "D:6: expected: nothing more\n")

    def test_an_output_of_nothing(self):
        self.check("text\n~~~text\n1\n~~~\n", "D:3: there is no command right before this output")

    def test_wrong_python(self):
        self.check("~~~python\nx = 1\nprint(x)\nx.y\n~~~\n", "D:4: AttributeError", "it wrote:\n    1")

    def test_a_shell_that_ends(self):
        self.check("~~~sh\necho bye\nexit 0\n~~~\n", "D:2: the shell ended in:", "bye")

    def test_a_wrong_file(self):
        self.check("~~~yaml cortex.yaml\n- name: x\n  kind: AsyncAPI\n~~~\n", "D:2: cortex deploy --check says:", "pod")
        self.check(
            "~~~yaml examples/hello/cortex.yaml\n- name: x\n~~~\n",
            "D:2: examples/hello/cortex.yaml has another content",
        )

    def test_code_that_is_not_compiled(self):
        self.check("~~~swift\nlet one = 1\n~~~\n", "D:2: this Swift code is in no file of Tests/ExampleAdapterTests")

    def test_words_that_are_no_commands(self):
        self.check("see\n`cortex deploi x`\n", "D:2: `cortex deploi x`: there is no command deploi")
        self.check("`cortex get -w --wach`\n", "D:1: `cortex get -w --wach`: there is no flag --wach")
        self.check("~~~\n$ cortex get\n~~~\n", "D:2: commands belong in a block `sh`")
        self.check("~~~sh skip\ncortex get\n~~~\n", "a block `sh skip` is not supported")
        with unittest.mock.patch.dict(os.environ, MAKELEVEL="1", MAKEFLAGS="w"):
            self.check("~~~sh clone\nmake tset\n~~~\n", "D:2: make:", "tset")
        self.check("~~~sh online\npip install x\ncortex get --nett\n~~~\n", "D:3: `cortex get --nett`: there is no flag --nett")
        self.check("~~~sh\ndocker run x\n~~~\n", "a block that needs Docker says sh image")

    def test_files(self):
        self.check("x\n`Core/NotThere.swift`\n", "D:2: there is no file Core/NotThere.swift")

    def test_links(self):
        self.check("x\n[a](not-there.md)\n", "D:2: this link has no target: not-there.md")
        self.check("[a](../docs/cli.md#not-there)\n", "D:1: ../docs/cli.md has no heading #not-there")

    def test_the_width_of_columns_may_differ(self):
        compare('{"id":"…"}\n…\nlast  column', '{"id":"a b"}\nanything\nelse\nlast      column', 1)
        for found in ('{"id":"a"}', '{"id":"a"}\nlast  colum', '{"ib":"a"}\nlast  column', ""):
            with self.assertRaises(Untrue):
                compare('{"id":"…"}\n…\nlast  column', found, 1)


if __name__ == "__main__":
    sys.exit(not unittest.main(exit=False, verbosity=0).result.wasSuccessful())
