"""A page for this computer alone: the server is bound to it, and asks for a token."""

import contextlib
import importlib.util
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from typing import Any

from ..commands import Command, Option
from ..options import whole_number

_HOST = "127.0.0.1"

# of a command that opens a page, see `Explorer.open`
_SERVING = (
    Option("port", whole_number(0, 65535), 0, "of the page; 0 takes a free one"),
    Option("browser", bool, True, "open the page in the browser"),
)
_SHARED = """
Sliders and number boxes move the parameters between the ends of their priors. A fit can begin at
what is shown, and the model can be saved, or copied as Python. The page is for this computer alone:
its address has a token."""


def explore_command(
    help: str,
    explorer: Callable[[Any], tuple[Any, str]],
    options: tuple[Option, ...],
    *,
    files: str,
    priors: str,
) -> Command:
    """The command ``explore`` of a program.

    Parameters
    ----------
    help
        A line, an empty one, and what the page shows; what all pages can do is added.
    explorer
        Function of the settings that returns the `Explorer` and the title of its page.
    options
        Besides those of the page.
    files, priors
        As for `Command`.
    """

    def run(settings) -> None:
        require_app()
        _check_free(settings.port)  # before minutes of work
        found, title = explorer(settings)
        print("compiling")
        found.open(title, settings.port, settings.browser)

    about = f"{help}{_SHARED}"
    return Command("explore", about, run, (*options, *_SERVING), files=files, priors=priors)


def require_app() -> None:
    """ValueError where the packages for pages are not installed."""
    if importlib.util.find_spec("bokeh") is None:
        raise ValueError(
            "the explorer needs bokeh, which is not installed: pip install 'grater-spotgp[app]'"
        )


@contextlib.contextmanager
def _using(port: int):
    """Where a port is taken: a ValueError that names it if it cannot be."""
    try:
        yield
    except (OSError, OverflowError) as error:
        raise ValueError(f"port {port} cannot be used: {error}") from None


def _check_free(port: int) -> None:
    with _using(port), socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind((_HOST, port))


def start_server(explorer: Any, title: str, port: int = 0):
    """Start to serve a page, and return Bokeh's server and the address with its token.

    The address has an identifier of a session that is signed with a key which only this process
    knows. The server makes none itself: without one of its own, or with another signature, nobody
    gets a page, and no messages are taken.

    Parameters
    ----------
    explorer
        The `Explorer` that draws the page. Each session has a copy.
    title
        Of the page.
    port
        Of 127.0.0.1; 0 is any that is free.
    """
    from bokeh.application import Application
    from bokeh.application.handlers.function import FunctionHandler
    from bokeh.server.server import Server
    from bokeh.util.token import generate_session_id

    key = secrets.token_urlsafe(32)
    application = Application(
        FunctionHandler(lambda document: explorer.copy().draw(document, title))
    )
    server = Server(
        {"/": application},
        port=port,
        address=_HOST,
        secret_key=key,
        sign_sessions=True,
        generate_session_ids=False,
        check_unused_sessions_milliseconds=10_000,
        unused_session_lifetime_milliseconds=60_000,
    )
    server.start()
    token = generate_session_id(secret_key=key, signed=True)
    # by this name: Bokeh takes no messages of a page that came by another one
    return server, f"http://localhost:{server.port}/?bokeh-session-id={token}"


def open_page(explorer: Any, title: str, port: int, browser: bool) -> None:
    """Serve a page until Ctrl-C; its address is printed, and opened in the browser."""
    with _using(port):
        server, address = start_server(explorer, title, port)
    print(f"the page, for whoever has this address: {address}", flush=True)
    print("Ctrl-C ends it", flush=True)
    if browser:
        # some browsers return only when they are closed
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    server.run_until_shutdown()
