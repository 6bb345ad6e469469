"""Write the generated pages of the documentation: ``nox -s docs``, or ``python docs/generate.py``.

They are in the repository, so that they can be read as they are; a test sees to it that they are
what this would write.
"""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import click

import trio_pipecat
from trio_pipecat import audio, testing, transports, video
from trio_pipecat._events import SESSION_EVENTS
from trio_pipecat._messages import COMMAND_TYPES, EVENT_TYPES
from trio_pipecat._options import SessionOptions
from trio_pipecat._state import TRANSITIONS
from trio_pipecat.testing._transport_rules import RULES
from trio_pipecat.tools._cli import cli

REFERENCE = Path(__file__).with_name("reference")
HELP_OPTIONS: Any = {"help_option_names": ["-h", "--help"], "max_content_width": 90}
NOTE = "<!-- Written by docs/generate.py. Do not edit. -->\n"


def pages() -> dict[Path, str]:
    """Return every generated page."""
    return {
        REFERENCE / "api.md": api(),
        REFERENCE / "messages.md": messages(),
        REFERENCE / "lifecycle.md": lifecycle(),
        REFERENCE / "command-line.md": command_line(),
        REFERENCE / "conformance.md": conformance(),
    }


# -- docstrings as Markdown ----------------------------------------------------------------------


def markdown(docstring: str | None) -> str:
    """Return a docstring of ours (Google style) as Markdown."""
    blocks: list[str] = []
    for block in inspect.cleandoc(docstring or "").split("\n\n"):
        heading, _, rest = block.partition("\n")
        if heading in ("Args:", "Raises:", "Attributes:", "Returns:"):
            blocks += [f"**{heading[:-1]}**", _items(rest)]
        elif all(line.startswith("    ") for line in block.splitlines()):
            language = "text" if "├" in block else "python"
            blocks.append(f"```{language}\n{textwrap.dedent(block)}\n```")
        else:
            blocks.append(block.removesuffix("::").replace("``", "`") + _colon(block))
    return "\n\n".join(block for block in blocks if block)


def _colon(block: str) -> str:
    """A paragraph that ends with a double colon ends with one; a double colon alone with none."""
    return ":" if block.endswith("::") and block != "::" else ""


def _items(text: str) -> str:
    """Return the entries of a section as a list."""
    lines = [
        re.sub(r"^([^:]+):", r"- `\1`:", line) if not line.startswith(" ") else f"  {line.strip()}"
        for line in textwrap.dedent(text).splitlines()
    ]
    return "\n".join(lines).replace("``", "`")


def summary(docstring: str | None) -> str:
    """Return the first sentence of a docstring, on one line."""
    paragraph = inspect.cleandoc(docstring or "").split("\n\n")[0]
    return " ".join(paragraph.split()).replace("``", "`")


# -- the API -------------------------------------------------------------------------------------


def api() -> str:
    """Return the page of everything that users import."""
    parts = [
        NOTE,
        "# API reference\n",
        "Everything here is imported from `trio_pipecat`, where its heading says nothing else.",
        "The events have [a page of their own](messages.md).\n",
    ]
    own = vars(trio_pipecat)
    names = {
        "Starting": ["open_session", "PipecatClient", "start_bot", "StartedBot", "ConnectParams"],
        "The session": [
            "Session",
            "EventStream",
            "AudioStream",
            "VideoStream",
            "StateEvents",
            "SessionEnd",
        ],
        "Recording": ["WavRecorder"],
        "Two bots": ["bridge", "BridgeReport", "BridgeSide", "BridgeRecorder"],
        "Values": ["State", "ProtocolVersions", "FunctionCall", "AboutClient", "AudioChunk"],
        "Files": ["File", "InlineSource", "UrlSource"],
        "What the user sees": ["UiTree", "UiNode", "UiSelection"],
    }
    for title, members in names.items():
        parts.append(f"## {title}\n")
        parts += [describe(name, own[name]) for name in members]
        if title == "Starting":
            parts.append(keywords())
    parts.append("## Errors\n")
    parts.append(markdown(inspect.getdoc(trio_pipecat._errors)) + "\n")
    errors = [v for v in own.values() if inspect.isclass(v) and issubclass(v, Exception)]
    parts += [describe(error.__name__, error) for error in errors]
    for module, title in (
        (testing, "trio_pipecat.testing"),
        (transports, "trio_pipecat.transports"),
        (audio, "trio_pipecat.audio"),
        (video, "trio_pipecat.video"),
    ):
        parts.append(f"## `{title}`\n")
        parts.append(markdown(module.__doc__) + "\n")
        for name in sorted(module.__all__):
            parts.append(describe(name, getattr(module, name), module))
    return "\n".join(parts)


def describe(name: str, thing: Any, module: ModuleType = trio_pipecat) -> str:
    """Return the entry of a class, a function, or a value of `module`."""
    if inspect.isclass(thing):
        return _describe_class(name, thing)
    if inspect.isfunction(thing):
        return f"### `{name}{signature(thing)}`\n\n{markdown(thing.__doc__)}\n"
    return f"### `{name}`\n\n{comment(name, module)}\n"


def comment(name: str, module: ModuleType) -> str:
    """Return the ``#:`` comment above a value, in the file that `module` has it from."""
    source = inspect.getsource(_origin(name, module))
    found = re.search(rf"((?:^#: .*\n)+){name}\b", source, re.MULTILINE)
    if found is None:
        raise LookupError(f"{name} has no comment that says what it is")
    lines = re.findall(r"#: (.*)", found[1])
    return "\n".join(lines).replace("``", "`")


def _origin(name: str, module: ModuleType) -> ModuleType:
    """Return the file that a package re-exports `name` from."""
    lines = ast.parse(inspect.getsource(module)).body
    for line in lines:
        if isinstance(line, ast.ImportFrom) and name in (alias.name for alias in line.names):
            return importlib.import_module("." * line.level + (line.module or ""), module.__name__)
    return module


def _describe_class(name: str, cls: type) -> str:
    fields = ""
    if attrs.has(cls):
        public = [field for field in attrs.fields(cls) if not field.name.startswith("_")]
        fields = ", ".join(field.name for field in public if field.init)
    lines = [f"### `{name}`", "", markdown(cls.__doc__), ""]
    if fields:
        lines += [f"Fields: `{fields}`.", ""]
    for attribute, value in _own_members(cls):
        if isinstance(value, property):
            lines.append(f"- **`{attribute}`** {summary(value.fget.__doc__)}")
        else:
            text = markdown(value.__doc__).replace("\n", "\n  ")
            lines.append(f"- **`{attribute}{signature(value)}`** {text}")
    return re.sub(r"[ \t]+\n", "\n", "\n".join(lines)) + "\n"


def _own_members(cls: type) -> Iterator[tuple[str, Any]]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith("trio_pipecat") or issubclass(base, Exception):
            continue
        for name, value in vars(base).items():
            documented = getattr(value, "__doc__", None) and not name.startswith("_")
            if documented and (inspect.isfunction(value) or isinstance(value, property)):
                found[name] = value  # one that a subclass has too is told once, by the subclass
    yield from found.items()


def signature(function: Any) -> str:
    """Return a function's parameters without their types: the text says what they are."""
    parsed = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=parameter.empty, default=_default(parameter.default))
        for parameter in parsed.parameters.values()
        if parameter.name != "self"
    ]
    return str(parsed.replace(parameters=parameters, return_annotation=parsed.empty))


def _default(value: Any) -> Any:
    """Return a default that reads well."""
    if value is inspect.Parameter.empty or not callable(value):
        return value

    class Dots:
        def __repr__(self) -> str:
            return "…"

    return Dots()


def keywords() -> str:
    """Return the keywords of `open_session`, read off the comments beside them."""
    from trio_pipecat import _options

    source = inspect.getsource(_options)
    listed = source.partition("class SessionKeywords")[2].partition("\n\n\n")[0]
    found = re.findall(r"((?:    #: .*\n)+)    (\w+): (.+)\n", listed)
    defaults = {field.name: field.default for field in attrs.fields(SessionOptions)}
    lines = [
        "### Keywords of `open_session`",
        "",
        "| keyword | default | what it says |",
        "|---|---|---|",
    ]
    for comment, name, _ in found:
        text = " ".join(re.findall(r"#: (.*)", comment))
        default = defaults[name]
        shown = "" if default is None or isinstance(default, attrs.Factory) else f"`{default!r}`"
        told = text.replace("``", "`").replace("|", "\\|")
        lines.append(f"| `{name}` | {shown} | {told} |")
    return "\n".join(lines) + "\n"


# -- messages ------------------------------------------------------------------------------------


def messages() -> str:
    """Return the page of every event and command."""
    parts = [
        NOTE,
        "# Events and messages\n",
        "Every event has `raw` (what the wire said) and `at` (when it came, on trio's clock).",
        "A field that may be missing is None then.\n",
        "## What the bot says\n",
        table(EVENT_TYPES.items()),
        "## The session's own events\n",
        table((None, cls) for cls in SESSION_EVENTS),
        "## What does not fit\n",
        table([(None, trio_pipecat.UnknownMessage), (None, trio_pipecat.MalformedMessage)]),
        "## What the client says\n",
        "Methods of `Session` send these; `send_raw` sends anything.\n",
        table(COMMAND_TYPES.items()),
    ]
    return "\n".join(parts)


def table(rows: Any) -> str:
    """Return a table of message classes."""
    lines = ["| class | wire type | fields | |", "|---|---|---|---|"]
    for type_, cls in rows:
        fields = ", ".join(f"`{f.name}`" for f in attrs.fields(cls) if f.name not in ("raw", "at"))
        wire = "" if type_ is None else f"`{type_}`"
        text = summary(cls.__doc__).replace("|", "\\|")
        lines.append(f"| `{cls.__name__}` | {wire} | {fields} | {text} |")
    return "\n".join(lines) + "\n"


# -- the lifecycle -------------------------------------------------------------------------------


def lifecycle() -> str:
    """Return the page with the states, drawn from their table."""
    lines = [NOTE, "# The lifecycle\n", "```mermaid", "stateDiagram-v2", "    [*] --> idle"]
    for state, following in TRANSITIONS.items():
        lines += [f"    {state} --> {other}" for other in TRANSITIONS if other in following]
    lines += ["    disconnected --> [*]", "```", ""]
    lines += ["| from | may go to |", "|---|---|"]
    for state, following in TRANSITIONS.items():
        names = ", ".join(f"`{other}`" for other in TRANSITIONS if other in following)
        lines.append(f"| `{state}` | {names or 'nowhere'} |")
    lines += ["", markdown(trio_pipecat.State.__doc__), ""]
    return "\n".join(lines)


# -- the command line ----------------------------------------------------------------------------


def command_line() -> str:
    """Return the page of the commands: their help, as they give it."""
    parts = [
        NOTE,
        "# The command line\n",
        "It needs the extra: `pip install 'trio-pipecat[cli]'`.\n",
    ]
    context = click.Context(cli, info_name="trio-pipecat", terminal_width=90, **HELP_OPTIONS)
    parts.append(f"```text\n{cli.get_help(context)}\n```\n")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command is not None:
            inner = click.Context(command, info_name=name, parent=context, terminal_width=90)
            parts.append(f"## trio-pipecat {name}\n\n```text\n{command.get_help(inner)}\n```\n")
    return re.sub(r"[ \t]+\n", "\n", "\n".join(parts))


# -- the conformance kits ------------------------------------------------------------------------


def conformance() -> str:
    """Return the page with what the two kits check."""
    parts = [
        NOTE,
        "# What the conformance kits check\n",
        "How to use them: [checking a transport or a client](../topics/conformance.md).\n",
        "## The cases of `check_client`\n",
        "| case | what the server does | what the client has to do |",
        "|---|---|---|",
        *(f"| `{c.name}` | {c.description} | {c.duty} |" for c in testing.list_client_cases()),
        "",
        "## The rules of `check_transport`\n",
        *(f"- {rule.sentence}." for rule in RULES),
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print("written:", path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
