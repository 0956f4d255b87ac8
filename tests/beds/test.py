#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Runs the machine tests, two at a time. The last line is `N passed, N failed, N skipped`.

test.py --kernel ELF --guests FOLDER [--bed B] [--case NAME] [--report FOLDER]
"""
import argparse
import concurrent.futures
import html
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from xml.sax.saxutils import escape, quoteattr

import beds
import cases
import boots  # noqa: F401 (registers its cases)
import harness  # noqa: F401 (registers its cases)
import interactive  # noqa: F401 (registers its cases)


def start(case, args, folder):
    options = case.options
    guests = options.get("guests", [])
    if callable(guests):
        guests = guests(folder)
    modules = [(file if file.endswith(".elf") else "%s/%s.elf" % (args.guests, file), line)
               for file, line in guests]
    iso, firmware = folder + "/test.iso", options.get("firmware", "bios")
    files = [file for file, _ in modules if file not in options.get("missing", [])]
    beds.make_iso(iso, args.kernel, modules, options.get("cmdline", "console=script"),
                  slim=firmware == "bios", files=list(dict.fromkeys(files)))
    bed = beds.BEDS[case.bed]
    more = {"debug": options["debug"](args)} if "debug" in options else {}
    return bed.start(iso, cpus=options.get("cpus", 1), mem=options.get("mem", 256),
                     firmware=firmware, model=options.get("model"), **more)


def run(case, args):
    """(case, verdict, seconds, text)"""
    bed, began = beds.BEDS[case.bed], time.monotonic()
    why_not = bed.why_not()
    if why_not:
        verdict = "failed" if case.bed in beds.REQUIRED else "skipped"
        return case, verdict, 0, why_not
    machine = None
    with tempfile.TemporaryDirectory(prefix="nestling-test-") as folder:
        try:
            if not case.options.get("alone"):
                machine = start(case, args, folder)
            session = cases.Session(machine, bed, args, folder)
            if machine and "interactive" not in case.options.get("cmdline", ""):
                session.ready()
            case.run(session)
            return case, "passed", time.monotonic() - began, ""
        except Exception:
            text = traceback.format_exc()
            if machine is not None:
                text += "--- the port ---\n" + machine.log[-3000:].decode("latin1").replace("\r", "")
            return case, "failed", time.monotonic() - began, text
        finally:
            if machine is not None:
                machine.close()


def write_reports(folder, results):
    os.makedirs(folder, exist_ok=True)
    count = {v: sum(r[1] == v for r in results) for v in ("passed", "failed", "skipped")}
    rows = [{"bed": c.bed, "case": c.name, "verdict": v, "seconds": round(s, 2), "text": t}
            for c, v, s, t in results]
    with open(folder + "/report.json", "w") as f:
        json.dump({"summary": count, "results": rows}, f, indent=1)
    with open(folder + "/junit.xml", "w") as f:
        f.write('<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="nestling" tests="%d" '
                'failures="%d" skipped="%d">\n' % (len(rows), count["failed"], count["skipped"]))
        for r in rows:
            f.write("<testcase classname=%s name=%s time=\"%s\">"
                    % (quoteattr(r["bed"]), quoteattr(r["case"]), r["seconds"]))
            if r["verdict"] == "failed":
                # XML has no way to say a control character.
                f.write("<failure>%s</failure>" % escape(re.sub(r"[^\t\n -~]", "?", r["text"])))
            elif r["verdict"] == "skipped":
                f.write("<skipped message=%s/>" % quoteattr(r["text"]))
            f.write("</testcase>\n")
        f.write("</testsuite>\n")
    with open(folder + "/report.html", "w") as f:
        f.write("<!doctype html><meta charset=utf-8><title>Nestling: machine tests</title>"
                "<style>body{font:14px sans-serif;margin:2em}td{padding:.2em 1em;vertical-align:top}"
                ".passed{color:#060}.failed{color:#a00}.skipped{color:#777}pre{max-width:100ch;"
                "white-space:pre-wrap}</style><h1>Machine tests</h1><p>%(passed)d passed, %(failed)d "
                "failed, %(skipped)d skipped</p><table>" % count)
        for r in rows:
            f.write("<tr><td>%s<td>%s<td class=%s>%s<td>%s s<td>%s"
                    % (r["bed"], html.escape(r["case"]), r["verdict"], r["verdict"], r["seconds"],
                       "<pre>%s</pre>" % html.escape(r["text"]) if r["text"] else ""))
        f.write("</table>\n")
    return count


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--kernel", required=True)
    p.add_argument("--guests", required=True)
    p.add_argument("--bed", default="")
    p.add_argument("--case", default="")
    p.add_argument("--report", default="")
    args = p.parse_args()
    todo = [c for c in cases.CASES if args.bed in ("", c.bed) and args.case in c.name]
    if not todo:
        sys.exit("no such case or bed")
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def give_up(number, frame):
        # Once is enough: the cases that run are to clean up behind themselves.
        for other in signals:
            signal.signal(other, signal.SIG_IGN)
        beds.end_all()
        sys.exit("stopped by signal %d" % number)

    for number in signals:
        signal.signal(number, give_up)
    results = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for result in pool.map(lambda c: run(c, args), todo):
            case, verdict, seconds, text = result
            results.append(result)
            print("%-7s %-13s %-40s %5.1f s%s" % (verdict, case.bed, case.name, seconds,
                                                 "  " + text if verdict == "skipped" else ""))
            if verdict == "failed":
                print(text)
            sys.stdout.flush()
    count = write_reports(args.report, results) if args.report else \
        {v: sum(r[1] == v for r in results) for v in ("passed", "failed", "skipped")}
    print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % count)
    sys.exit(count["failed"] != 0)


if __name__ == "__main__":
    main()
