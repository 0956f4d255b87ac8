# SPDX-License-Identifier: MPL-2.0
"""Cases of the way up: machines and command lines that boot must refuse in part, or whole, in words."""
from cases import ALL, TCG, case, no_panic


def errors(s):
    return [l for l in s.text().split("\n") if l.startswith("error: ")]


def refuses_the_cpu(s, words):
    """There is no console yet: the message is all, and the machine stands still."""
    s.expect(words)
    assert "Nestling" not in s.text(), s.text()


@case(beds=TCG, model="qemu64,+svm,-nx", cmdline="console=interactive", guests=[("modes", "")])
def cpu_without_nx(s):
    refuses_the_cpu(s, "nestling: this CPU has no NX: .*execute-disable")


@case(beds=TCG, model="qemu32", cmdline="console=interactive", guests=[("modes", "")])
def cpu_without_long_mode(s):
    refuses_the_cpu(s, "nestling: this CPU has no 64-bit mode: ")


@case(beds=ALL, cmdline="console=script log=warn " + "z " * 31, guests=[("modes", "name=good mem=16M")])
def too_many_options(s):
    s.do("guests")
    found = errors(s)
    assert len([l for l in found if "unknown option 'z'" in l]) == 30, found
    assert len([l for l in found if "more than 32 options" in l]) == 1, found
    assert len(found) == 31, found
    assert s.do("log")[0].endswith("warn"), "the first options count"
    no_panic(s)
    s.quit()


@case(beds=ALL, cmdline="console=script log=warn " + "z" * 1100, guests=[("modes", "name=good mem=16M")])
def too_long_a_command_line(s):
    s.do("guests")
    found = errors(s)
    assert len([l for l in found if "longer than 1023 characters" in l]) == 1, found
    assert len([l for l in found if "unknown option 'zzz" in l]) == 1 and len(found) == 2, found
    no_panic(s)
    s.quit()


@case(beds=ALL, guests=[("modes", "name=bad mem=16M cmdline=" + "y" * 1100),
                        ("modes", "name=good mem=16M")])
def too_long_a_module_line(s):
    s.expect(r"good\| modes: pass")
    found = errors(s)
    assert len(found) == 1 and "name=bad" in found[0] and "1023 characters" in found[0], found
    assert [r["guest"] for r in s.rows("guests")] == ["good"]
    no_panic(s)
    s.quit()


@case(beds=ALL, mem=64, guests=[("modes", "name=g%d mem=1G start=no" % i) for i in range(35)])
def too_many_modules(s):
    found = errors(s)
    assert len([l for l in found if "3 modules are left out: there is room for 32" in l]) == 1, found
    no_panic(s)
    s.sound()
    s.quit()


@case(beds=TCG, cpus=66, guests=[("modes", "name=good mem=16M")])
def too_many_cpus(s):
    s.expect(r"good\| modes: pass", 90)
    left_out = [l for l in s.text().split("\n") if l.startswith("warning: CPU with APIC id")]
    assert len(left_out) == 2 and "64 is left out: there is room for no more" in left_out[0], left_out
    assert "64 CPUs" in s.text()
    s.sound()
    s.quit()


@case(beds=ALL, mem=16, guests=[("modes", "name=good mem=4M")])
def small_machine(s):
    s.expect(r"good\| modes: pass")
    s.sound()
    s.quit()
