# SPDX-License-Identifier: MPL-2.0
"""Cases that sit at the console as a user does: keys go in, and what the screen shows is what counts."""
import json
import re
import time

from beds import BedError
from cases import ALL, BOTH, TCG, TOUCH, case

UP, LEFT, HOME, DELETE = "\033[A", "\033[D", "\033[H", "\033[3~"
PROMPT = "nestling> "


class Screen:
    """What a terminal shows after `data`: rows, and where the cursor is. It knows what the console may
    use, and nothing else."""

    def __init__(self, data):
        self.rows, self.col = [""], 0
        # A sequence that is still on its way is not yet on the screen.
        for token in re.findall(r"\033\[K|.|\n", re.sub(r"\033\[?$", "", data)):
            row = self.rows[-1]
            if token == "\r":
                self.col = 0
            elif token == "\n":
                self.rows.append(" " * self.col)
            elif token == "\b":
                assert self.col > 0, "back over the left edge"
                self.col -= 1
            elif token == "\033[K":
                self.rows[-1] = row[:self.col]
            elif token != "\a":
                assert " " <= token <= "~", "the port said %r" % token
                self.rows[-1] = row[:self.col].ljust(self.col) + token + row[self.col + 1:]
                self.col += 1

    def last(self):
        return self.rows[-1].rstrip()


class User:
    def __init__(self, s):
        self.machine, self.slow = s.machine, s.slow

    def screen(self):
        text = self.machine.log.decode("latin1")
        # What the firmware and GRUB have drawn before is theirs.
        return Screen(text[text.index("Nestling\r\n"):] if "Nestling\r\n" in text else "")

    def sees(self, what, timeout=20):
        """Waits until what(screen) holds; the screen."""
        end = time.monotonic() + timeout * self.slow
        while True:
            screen = self.screen()
            if what(screen):
                return screen
            if time.monotonic() > end:
                raise BedError("the screen shows:\n" + "\n".join(screen.rows[-25:]))
            self.machine.pump()

    def has_typed(self, text, col=None):
        """The last row is the prompt and this, the cursor behind it or at `col` of the line."""
        at = len(PROMPT) + (len(text) if col is None else col)
        return self.sees(lambda s: s.last() == (PROMPT + text).rstrip() and s.col == at)

    def types(self, keys):
        self.machine.send(keys)

    def runs(self, line, timeout=30):
        """Types a command; the rows between it and the next prompt, without those of guests."""
        start = len(self.screen().rows)
        self.types(line + "\r")
        rows = self.sees(lambda s: len(s.rows) > start and s.last() == PROMPT.rstrip(),
                         timeout).rows
        return [r for r in rows[start:-1] if not re.match(r"[\w.-]+\| ", r)]


@case(beds=ALL, cmdline="console=interactive", guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def typing_at_the_console(s):
    """Editing, history and completion, with a guest that keeps the console's CPU busy."""
    user = User(s)
    user.sees(lambda screen: any("touch: done 3 pages" in r for r in screen.rows), 90)
    user.has_typed("")
    user.types("gusts" + LEFT * 3 + "e")
    user.has_typed("guests", 3)
    assert any(r.startswith("touch        running") for r in user.runs(""))
    user.types(UP + HOME + DELETE)
    user.has_typed("uests", 0)
    user.types("\003")
    user.has_typed("")
    user.types("wal\tto\t0x2000")
    user.has_typed("walk touch 0x2000")
    user.types("00\033[1;5D\033[15~\005")
    user.has_typed("walk touch 0x200000")
    rows = user.runs("")
    assert rows[-1].startswith("  200000 -> "), rows
    user.types("gu\t\t")
    user.sees(lambda screen: screen.last() == PROMPT + "guest"
              and "guests  guest" in screen.rows[-2])
    user.types("\025")
    user.has_typed("")
    assert user.runs("guets") == ["error: unknown command 'guets': did you mean 'guests'?"]
    # A line that is longer than the terminal is wide is shown in part, and taken whole.
    user.types("write touch 0x200000 " + "ab" * 90)
    user.sees(lambda screen: screen.last() == PROMPT + "ab" * 34)
    assert "expected 1 to 128 bytes" not in "".join(user.runs(""))
    row = user.runs("read touch 0x200050 16")[0]
    assert row.split()[1:11] == ["ab"] * 10, row
    assert user.runs("") == []
    user.types("quit\r")
    # The user has seen the errors; they are none of the machine's.
    assert s.machine.wait(30 * s.slow), "quit is no failure here"


def speaks(s, cpu):
    """A guest's lines come while something is being typed: they are whole, and so is what is typed."""
    user = User(s)
    user.sees(lambda screen: screen.last() == PROMPT.rstrip(), 60)
    assert user.runs("resume memtest") == []
    user.types("guest memtes" + LEFT * 5)
    screen = user.sees(lambda s: any("memtest: pass" in r for r in s.rows), 120)
    user.has_typed("guest memtes", 7)
    said = [r for r in user.screen().rows if r.startswith("memtest| ")]
    assert len(said) >= 5 and all(re.match(r"memtest\| memtest: \S+.*\d", r) for r in said), said
    # Nothing of the prompt is left on the rows above.
    assert not [r for r in screen.rows[:-1] if "guest memtes" in r], screen.rows
    user.types("\005")
    assert user.runs("t")[0].startswith("memtest ")
    # Its last line comes before its last hypercall.
    for _ in range(100):
        if ", status 0" in user.runs("guest memtest")[0]:
            break
    assert user.runs("guests --json")[0].startswith('{"guest":"memtest","state":"done"')
    assert '"cpu":%d' % cpu in user.runs("guests --json")[0]
    user.types("quit\r")
    assert s.machine.wait(30 * s.slow)


@case(beds=BOTH, cmdline="console=interactive",
      guests=[("memtest", "mem=16M start=no cmdline=limit=4M")])
def guest_speaks_while_typing(s):
    speaks(s, 0)


@case(beds=BOTH, cpus=2, cmdline="console=interactive",
      guests=[("memtest", "mem=16M start=no cpu=1 cmdline=limit=4M")])
def guest_speaks_on_another_cpu(s):
    speaks(s, 1)


@case(beds=TCG, cmdline="console=interactive", guests=[("touch", "mem=16M")])
def answer_is_dropped(s):
    """ctrl-c ends a long answer; what is typed while a command answers is the next line."""
    user = User(s)
    user.sees(lambda screen: any("touch: done" in r for r in screen.rows))
    user.has_typed("")
    full = len(user.runs("help"))
    assert full > 20
    for _ in range(10):
        # ctrl-c is in the port before the command has said its last line.
        user.types("help\r\003")
        rows = user.sees(lambda screen: screen.rows[-2:-1] and "^C" in screen.rows[-2] and
                         screen.last() == PROMPT.rstrip()).rows
        asked = max(i for i, r in enumerate(rows) if r.rstrip() == PROMPT + "help")
        if rows[-2] == "^C" and len(rows) - asked - 3 < full:
            break
        user.runs("")
    else:
        raise AssertionError("no answer was cut:\n" + "\n".join(rows[-30:]))
    user.types("help\rguest touch\rlog\rme")
    rows = user.has_typed("me").rows
    assert rows[-2] == "info" and rows[-3] == PROMPT + "log", rows[-8:]
    assert any(r == PROMPT + "guest touch" for r in rows)
    user.types("\003")
    user.types("quit\r")
    assert s.machine.wait(30 * s.slow)


def script(s, lines):
    return [s.machine.command(line, 60 * s.slow)[0] for line in lines]


@case(beds=BOTH, guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def script_lines(s):
    """What a script may look like: long lines are refused, not cut; blank ones are nothing."""
    s.expect(r"touch\| touch: done 3 pages")
    assert "255" in s.fails("write touch 0x200000 " + "ab" * 200)
    s.machine.send("\n  \n\r\n")
    assert script(s, ["guests", "guest \"touch\"", "guest \"touch", "ept touch --json",
                      "--json ept touch", "mem " * 20]) == [True, True, False, True, True, False]
    # The line that was refused has left nothing behind.
    assert s.rows("read touch 0x200000 8")[0]["bytes"] == "0000200000000000"
    # Only what is there is shown, and looking brings nothing in.
    before = s.guest("touch")["touched"]
    assert "0x346000 is not mapped" in s.fails("read touch 0x345ff8 16")
    assert "0xfffffffffffffff8 is not mapped" in s.fails("read touch 0xfffffffffffffff8 64")
    assert s.guest("touch")["touched"] == before
    # All the answers to --json are JSON, one object on a line.
    find = "find touch " + s.mapped("touch", 0x200000)["hpa"]
    for line in (find, "guests", "guest touch", "ept touch", "walk touch 0", "regs touch", "exits", "mem",
                 "tlb", "audit", "log", "frame 0x200000", "accessed touch",
                 "dirty touch", "read touch 0 32", "unmap touch 0x345000", "map touch 0x345000",
                 "protect touch 0x345000 r"):
        answer = s.do(line + " --json")
        assert answer and all(isinstance(json.loads(l), dict) for l in answer), (line, answer)
    s.machine.send("quit\n")
    assert not s.machine.wait(30 * s.slow), "failures were forgotten"


@case(beds=ALL, guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def numbers_that_fill_64_bits(s):
    """Nothing that is typed is worse than an error. The guest rests: it would not survive some of it."""
    s.expect(r"touch\| touch: done 3 pages")
    s.do("pause touch")
    ends = [0, 1, 0xfff, 0x1000000, (1 << 47) - 1, 1 << 47, 1 << 48, (1 << 52) - 1, 1 << 52, 1 << 63,
            (1 << 64) - 4096, (1 << 64) - 1, 1 << 64, -1]
    for a in ends:
        for form in ("walk touch %#x", "frame %#x", "find touch %#x", "ept touch %#x",
                     "ept touch %#x+16T", "ept touch 0-%#x", "read touch %#x 4096",
                     "read touch 0 %#x", "unmap touch %#x+4K", "unmap touch 0+%#x",
                     "protect touch %#x-0xffffffffffffffff r", "map touch %#x-%#x1",
                     "write touch %#x 0011223344", "regs touch %#x"):
            if form.startswith(("unmap touch 0+", "ept touch 0-")) and 0 < a <= 0x1000000:
                continue
            s.machine.command(form.replace("%#x", hex(a)), 60 * s.slow)
    assert "PANIC" not in s.text()
    s.sound()
    s.machine.send("quit\n")
    s.machine.wait(30 * s.slow)
