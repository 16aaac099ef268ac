"""A notebook as a report: run with parameters, and what it shows as one HTML file that needs nothing else."""

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import papermill
import plotly.io
import plotly.offline
import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from traitlets import Type

from regstats import notebooks, report
from regstats.errors import InputError, ParameterError, RegstatsError

_FIGURE = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_WIDGETS = "application/vnd.jupyter.widget-state+json"
_SHOWN = ("execute_result", "display_data")
_QUIET = "--log-level=CRITICAL"  # what a cell says goes into the report, and a kernel has nothing to say to its user
_HEADING = re.compile(r"<h1\b[^>]*>(.*?)</h1>", re.DOTALL)


class Shell(AsyncZMQSocketChannel):
    """What is sent to a kernel: code, and what a widget is to show."""

    def send(self, msg: dict[str, Any]) -> None:
        """Sends a message, and looks for answers: one that arrives just then wakes nobody, who would wait for ever."""
        super().send(msg)
        self.socket.get(zmq.EVENTS)


class Client(AsyncKernelClient):
    """jupyter_client's, with this shell."""

    shell_channel_class = Type(Shell)


class KernelManager(AsyncKernelManager):
    """jupyter_client's, for nbclient, which waits for answers and sends to widgets at the same time."""

    client_factory = Type(Client)


class Surroundings(NamedTuple):
    """What a notebook is run on."""

    data: str
    settings: Path | None
    excluded: str
    """Who is not counted, in words."""

    def environment(self) -> dict[str, str]:
        """What its kernel is told."""
        named = {"REGSTATS_DATA": str(Path(self.data).resolve()), "PLOTLY_RENDERER": "plotly_mimetype"}
        return named | ({"REGSTATS_CONFIG": str(self.settings.resolve())} if self.settings else {})


def render(name: str, parameters: Mapping[str, Any], surroundings: Surroundings) -> str:
    """What a notebook shows, as HTML without its code.

    Raises ParameterError: no such notebook, or an unknown parameter; each names those that there are. RegstatsError
    says which cell failed, and how.
    """
    path = notebooks.find(name)
    notebook = _read(path)
    _check(path.stem, notebook, parameters)
    done = _run(path, notebook, parameters, surroundings)
    _replace_outputs(done)
    body = _body(done, path.parent)
    template = report.environment().get_template("notebook.html")
    return template.render(
        title=_title(body) or path.stem,
        name=path.stem,
        body=body,
        parameters=parameters,
        excluded=surroundings.excluded,
        plotly=plotly.offline.get_plotlyjs(),
    )


def parsed(assignments: Iterable[str]) -> dict[str, Any]:
    """`key=value` texts as parameters: values as JSON or a Python literal where they are one, else as text."""
    parameters: dict[str, Any] = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not key.isidentifier():
            raise ParameterError(f"{assignment!r} is no parameter; write NAME=VALUE, such as since=30d.")
        parameters[key] = _value(value)
    return parameters


def _value(text: str) -> Any:
    for read in (_from_json, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text


def _from_json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(constant)  # NaN and Infinity are not JSON, and may be names

    return json.loads(text, parse_constant=refuse)


def _read(path: Path) -> NotebookNode:
    try:
        notebook: NotebookNode = nbformat.read(path, as_version=4)
    except OSError as error:
        raise InputError(f"Cannot read the notebook {path}: {error.strerror}.") from None
    except (ValueError, AttributeError, nbformat.ValidationError) as error:
        raise InputError(f"{path} is not a notebook: {str(error).partition(chr(10))[0]}") from None
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook.metadata["language_info"] = {"name": "python"}  # papermill asks for both, and not every notebook has them
    return notebook


def _check(name: str, notebook: NotebookNode, parameters: Mapping[str, Any]) -> None:
    """Refuses parameters that the notebook has not; papermill would only warn."""
    known = papermill.inspect_notebook(notebook)
    for key in parameters:
        if key not in known:
            there_are = f"There are: {', '.join(known)}." if known else "It has none."
            raise ParameterError(f"The notebook {name} has no parameter {key!r}. {there_are}")


def _run(path: Path, notebook: NotebookNode, parameters: Mapping[str, Any], on: Surroundings) -> NotebookNode:
    """The notebook with its outputs. Ours run where the user is, those of a user where they lie, as in JupyterLab."""
    folder = Path.cwd() if path.parent == notebooks.path() else path.parent
    loop = ensure_event_loop()
    try:
        done: NotebookNode = papermill.execute_notebook(
            notebook,
            None,
            dict(parameters),
            progress_bar=False,
            kernel_manager_class=_manager(on.environment()),
            resources={"metadata": {"path": str(folder)}},
        )
    except PapermillExecutionError as error:
        which = _which(notebook, error.source)
        said = f"{error.ename}: {error.evalue}"
        raise RegstatsError(f"The notebook {path.stem} failed at {which}. {said}") from None
    except RuntimeError as error:  # nbclient's, where the kernel did not start, or died
        raise RegstatsError(f"The notebook {path.stem} could not be run to its end: {error}") from None
    finally:
        if not loop.is_running():
            loop.close()  # nobody else does, and this thread may end
    return done


def _which(notebook: NotebookNode, source: str) -> str:
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    first = source.strip().partition("\n")[0]
    number = f"cell {code.index(source) + 1} of code" if source in code else "the cell of its parameters"
    return f"{number}, `{first}`"


def _manager(environment: Mapping[str, str]) -> type[AsyncKernelManager]:
    """Starts kernels with this interpreter, whatever is registered on this machine, or is not."""
    escaped = {key: value.replace("$", "$$") for key, value in environment.items()}

    class Manager(KernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            spec = KernelSpec(**notebooks.kernel(), env=escaped)
            spec.argv = [*spec.argv, _QUIET]
            return spec

    return Manager


def _body(notebook: NotebookNode, folder: Path) -> Markup:
    """Its texts and outputs. The template `basic` has no head, and so loads nothing from anywhere."""
    exporter = HTMLExporter(
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        embed_images=True,
    )
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"path": str(folder)}})
    return Markup(body)  # noqa: S704 - names in it were escaped by what made the outputs


def _title(body: str) -> str:
    heading = _HEADING.search(body)
    return Markup(heading[1]).striptags() if heading else ""  # noqa: S704 - to take the tags away


def _replace_outputs(notebook: NotebookNode) -> None:
    """Puts into each output what a page without a kernel can show."""
    widgets = notebook.metadata.pop("widgets", {}).get(_WIDGETS, {}).get("state", {})
    number = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs = [shown for output in cell.outputs for shown in _without_widgets(output, widgets)]
        for output in cell.outputs:
            if output.output_type in _SHOWN and _FIGURE in output.data:
                number += 1
                output.data = NotebookNode({"text/html": _drawn(output.data[_FIGURE], f"chart-{number}")})
    notebook.cells = [cell for cell in notebook.cells if cell.get("outputs", True)]


def _drawn(figure: Mapping[str, Any], name: str) -> str:
    """A figure as HTML. Names in it are JSON in a script, in which plotly leaves no `<`."""
    parts = {key: figure[key] for key in ("data", "layout", "frames") if key in figure}
    drawn: str = plotly.io.to_html(
        parts, full_html=False, include_plotlyjs=False, div_id=name, config=report.CHART_CONFIG, validate=False
    )
    return drawn


def _without_widgets(output: NotebookNode, widgets: Mapping[str, Any]) -> Iterator[NotebookNode]:
    """An output as it is, and in the place of controls what they show at first: nothing moves them in a file."""
    view = output.data.get(_WIDGET) if output.output_type in _SHOWN else None
    if view is None:
        yield output
        return
    for shown in _of_widget(view.get("model_id", ""), widgets):
        yield from _without_widgets(shown, widgets)


def _of_widget(model: str, widgets: Mapping[str, Any]) -> Iterator[NotebookNode]:
    state = widgets.get(model, {}).get("state", {})
    yield from map(nbformat.from_dict, state.get("outputs", ()))
    for child in state.get("children", ()):
        yield from _of_widget(child.removeprefix("IPY_MODEL_"), widgets)
