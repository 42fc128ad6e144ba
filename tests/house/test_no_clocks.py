# ruff: noqa: E501 (a planted source is a line)
"""No test judges a time, of the clock or of the CPU: on a busy machine it would fail, and nothing would be wrong. What a program does in
time is asserted by what it imports and how often it does what is dear; times are in the benchmark (make bench)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import ROOT
from tools.clocks import judged, judged_in

FILES = [
    *(ROOT / "tests").rglob("*.py"),
    *ROOT.glob("plugins/*/tests/**/*.py"),
    *(ROOT / "realcompo" / "testing").rglob("*.py"),
    *ROOT.glob("plugins/*/realcompo_*/conformance.py"),
    ROOT / "conftest.py",
]


def test_no_test_judges_a_clock() -> None:
    assert len(FILES) > 80
    found = judged_in(FILES)
    said = [f"{path.relative_to(ROOT)}:{one.line}: {one.how}" for path, lines in found.items() for one in lines]
    assert not said, "assert counts, or what was imported; times belong into the benchmark:\n" + "\n".join(said)


JUDGING = {
    "directly": "import time\ndef test():\n    assert time.monotonic() < 5",
    "another name of the module": "import time as t\ndef test():\n    assert 0 < t.perf_counter()",
    "another name of the function": "from time import process_time as cpu\ndef test():\n    assert cpu() < 5",
    "through variables": "import time\ndef test():\n    a = time.time()\n    b = time.time() - a\n    cost = 2 * b\n    assert cost < 5",
    "through a tuple": "import time\ndef test():\n    a, b = time.time(), 1\n    assert a < 5",
    "through a list": "import time\ndef test():\n    costs = []\n    costs.append(time.time())\n    assert min(costs) < 5",
    "through a dictionary": "import time\ndef test():\n    costs = {}\n    costs['x'] = time.time()\n    assert costs['x'] < 5",
    "through a loop": "import time\ndef test():\n    for cost in [time.time()]:\n        assert cost < 5",
    "through a comprehension": "import time\ndef test():\n    assert all(c < 5 for c in [time.time() for _ in range(3)])",
    "through an attribute": "import time\nclass A:\n    def f(self):\n        self.cost = time.time()\ndef test(a):\n    assert a.cost < 5",
    "through a walrus": "import time\ndef test():\n    if (cost := time.time()):\n        pass\n    assert cost < 5",
    "through a flag": "import time\ndef test():\n    late = False\n    if time.time() > 5:\n        late = True\n    assert not late",
    "through a comparison's name": "import time\ndef test():\n    fine = time.time() < 5\n    assert fine",
    "helper that returns it": "import time\ndef cost(f):\n    b = time.time()\n    f()\n    return time.time() - b\ndef test():\n    assert cost(print) < 5",
    "helper of a helper": "import time\ndef a():\n    return time.time()\ndef b():\n    return a()\ndef test():\n    assert b() < 5",
    "method that returns it": "import time\nclass A:\n    def cost(self):\n        return time.time()\ndef test():\n    assert A().cost() < 5",
    "helper that judges it": "import time\ndef check(cost):\n    assert cost < 5\ndef test():\n    check(time.time())",
    "helper that judges it by a key": "import time\ndef check(*, cost):\n    assert cost < 5\ndef test():\n    check(cost=time.time())",
    "fixture that yields it": "import time\ndef timer():\n    yield time.time()\ndef test():\n    assert next(timer()) < 5",
    "nested function": "import time\ndef test():\n    b = time.time()\n    def check():\n        assert time.time() - b < 5\n    check()",
    "kept as a function": "import time\ndef test():\n    clock = time.time\n    assert clock() < 5",
    "approximately": "import time, pytest\ndef test():\n    c = time.time()\n    x = 5 == pytest.approx(c)\n",
    "unittest": "import time\nclass T:\n    def test(self):\n        self.assertLess(time.time(), 5)",
    "if, fail": "import time, pytest\ndef test():\n    if time.time() > 5:\n        pytest.fail('slow')",
    "if, raise": "import time\ndef test():\n    if time.time() > 5:\n        raise AssertionError",
    "else, fail": "import time, pytest\ndef test():\n    if time.time() < 5:\n        pass\n    else:\n        pytest.fail('slow')",
    "resource": "import resource\ndef test():\n    r = resource.getrusage(resource.RUSAGE_SELF)\n    assert r.ru_utime < 5",
    "os.times": "import os\ndef test():\n    assert os.times().user < 5",
    "timeit": "import timeit\ndef test():\n    assert timeit.timeit('1', number=3) < 5",
    "datetime": "from datetime import datetime\ndef test():\n    b = datetime.now()\n    assert (datetime.now() - b).seconds < 5",
    "datetime, whole": "import datetime as d\ndef test():\n    assert d.datetime.now().hour < 12",
    "psutil": "import psutil\ndef test():\n    assert psutil.Process().cpu_times().user < 5",
    "loop.time": "import asyncio\nasync def test():\n    assert asyncio.get_running_loop().time() < 5",
    "at the module's top": "import time\nBEGAN = time.time()\ndef test():\n    assert BEGAN < 5",
    "nanoseconds": "import time\ndef test():\n    assert time.perf_counter_ns() < 5",
    "after a loop that waits": "import time\ndef test():\n    b = time.time()\n    while time.time() < b + 5:\n        pass\n    assert time.time() - b < 6",
}  # fmt: skip


@pytest.mark.parametrize("way", JUDGING)
def test_a_judged_clock_is_found(way: str) -> None:
    assert judged(JUDGING[way])


FINE = {
    "waiting for a server": "import time\ndef address(server):\n    end = time.monotonic() + 240\n    while time.monotonic() < end and server.poll() is None:\n"
    "        found = server.log()\n        if found:\n            return found\n        time.sleep(0.05)\n    raise RuntimeError('no server')\n"
    "def test(server):\n    assert address(server) == 'x'",
    "giving up": "import time\ndef test(ready):\n    end = time.time() + 9\n    while not ready():\n        if time.time() > end:\n            raise TimeoutError\n    assert ready()",
    "a printed time": "import time\ndef test():\n    b = time.time()\n    print(time.time() - b)\n    assert True",
    "a name of a file": "import time\ndef test(path):\n    assert path.name == 'time.time()'",
    "sleeping": "import time\ndef test(f):\n    time.sleep(0.1)\n    assert f() == 1",
    "another `time`": "def test(frame):\n    time = frame.index\n    assert time < 5",
    "a stopped clock": "import time\ndef test(monkeypatch, f):\n    monkeypatch.setattr(time, 'time', lambda: 3.0)\n    assert f() == 3.0",
    "mtime that is set": "import os\ndef test(path):\n    os.utime(path, (1, 1))\n    assert path.exists()",
}  # fmt: skip


@pytest.mark.parametrize("way", FINE)
def test_what_judges_no_clock_is_let_be(way: str) -> None:
    assert not judged(FINE[way])


def test_a_helper_of_another_file_is_followed(tmp_path: Path) -> None:
    helper, test, other = (tmp_path / f"{name}.py" for name in ("helper", "test_x", "test_y"))
    helper.write_text("import time\ndef cost(f):\n    b = time.time()\n    f()\n    return time.time() - b\n")
    test.write_text("from helper import cost\ndef test():\n    assert cost(print) < 5\n")
    other.write_text("def test(x):\n    cost = x.price\n    assert cost < 5\n")
    assert list(judged_in([helper, test, other])) == [test]
