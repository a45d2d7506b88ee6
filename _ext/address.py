"""Where this copy of the book lives, found at build time: GITHUB_REPOSITORY, else the clone's `origin` remote.

Repository, edit and issue buttons name the branch. Binder and Colab name the commit, so that a page and the code
that it opens agree. Without an address the buttons are left out, and the build says so. DLBOOK_BASE_URL overrides the
address under which the pages are read, which is otherwise that of GitHub Pages.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from sphinx.util import logging

logger = logging.getLogger(__name__)

GITHUB = "https://github.com"
# https://host/owner/name.git, ssh://git@host:22/owner/name or git@host:owner/name; never a user or a password
REMOTE = re.compile(
    r"(?:(?:https?|ssh|git)://(?:[^/]*@)?(?P<host>[^/:@]+)(?::\d+)?/|[^@/:]+@(?P<scp>[^/:@]+):/?)"
    r"(?P<path>[^?#@]+/[^/?#@]+?)(?:\.git)?/?"
)
ISSUES = ("github", "gitlab")
PROVIDERS = (*ISSUES, "bitbucket")
NEEDS_SITE = r'property="og:(url|image(:alt)?)"'


@dataclass(frozen=True)
class Address:
    """A repository: `server` such as https://github.com, `path` such as owner/name."""

    server: str
    path: str
    branch: str
    commit: str

    @property
    def url(self) -> str:
        return f"{self.server}/{self.path}"

    @property
    def provider(self) -> str | None:
        """What kind of server it is, for the links to edit and report; None when its name does not tell."""
        return next((name for name in PROVIDERS if name in urlsplit(self.server).netloc), None)

    @property
    def pages(self) -> str | None:
        """Where GitHub Pages publishes it; None for any other server."""
        if self.server != GITHUB:
            return None
        owner, name = self.path.split("/")
        host = f"{owner.lower()}.github.io"
        return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def git(root: Path, *arguments: str) -> str:
    """What git prints, without the line's end; nothing where there is no git or no clone."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def remote(url: str) -> tuple[str, str] | None:
    """(server, owner/name) of a remote's address; None for a folder or a bundle."""
    found = REMOTE.fullmatch(url.strip())
    if found is None:
        return None
    host = re.sub(r"^(www|ssh|altssh)\.", "", (found["host"] or found["scp"]).lower())
    return f"https://{host}", found["path"]


def find(root: Path, environ: Mapping[str, str] = os.environ) -> Address | None:
    """The address of the clone in `root`, or None. A build on GitHub knows it from the environment."""
    commit, branch = git(root, "rev-parse", "HEAD"), git(root, "branch", "--show-current")
    if environ.get("GITHUB_REPOSITORY"):
        where = environ.get("GITHUB_SERVER_URL", GITHUB).rstrip("/"), environ["GITHUB_REPOSITORY"]
        # The branch of a pull request is its own merge, which nobody can edit: take the one it goes to.
        branch = environ.get("GITHUB_BASE_REF") or environ.get("GITHUB_REF_NAME") or branch
        commit = environ.get("GITHUB_SHA") or commit
    else:
        where = remote(git(root, "remote", "get-url", "origin"))
    branch = branch or "main"
    return Address(*where, branch, commit or branch) if where else None


def buttons(address: Address | None) -> dict:
    """The theme's options for its repository buttons."""
    provider = address.provider if address else None
    return {
        "repository_url": address.url if provider else "",
        "repository_provider": provider or "",
        "repository_branch": address.branch if provider else "",
        "use_repository_button": bool(provider),
        "use_edit_page_button": bool(provider),
        "use_issues_button": provider in ISSUES,
    }


def launch_links(address: Address | None, page: str) -> dict[str, str]:
    """Binder and Colab for the notebook `page`, at the very commit that was built."""
    if not address or address.server != GITHUB:
        return {}
    commit, notebook = quote(address.commit, safe=""), quote(f"{page}.ipynb")
    return {
        "Binder": f"https://mybinder.org/v2/gh/{address.path}/{commit}?urlpath=lab/tree/{notebook}",
        "Colab": f"https://colab.research.google.com/github/{address.path}/blob/{commit}/{notebook}",
    }


def configure(app, config) -> None:
    """Give the theme, the sitemap, the 404 page and the social cards what is known."""
    config.html_theme_options.update(buttons(app.dlbook_address))
    config.html_baseurl = config.ogp_site_url = base_url(app.dlbook_address)
    config.notfound_urls_prefix = urlsplit(config.html_baseurl).path or "/"
    config.dlbook_commit = app.dlbook_address.commit if app.dlbook_address else ""
    if not app.dlbook_address:
        logger.info(
            "dlbook: neither GITHUB_REPOSITORY nor a remote called origin says where this book lives; "
            "its pages get no launch, repository, edit or issue buttons."
        )


def base_url(address: Address | None, environ: Mapping[str, str] = os.environ) -> str:
    """Where the pages will be read, with a slash at the end; empty when unknown."""
    url = environ.get("DLBOOK_BASE_URL") or (address.pages if address else None) or ""
    return url and url.rstrip("/") + "/"


def add_launch_buttons(app, pagename, templatename, context, doctree) -> None:
    """The theme's own launch buttons would name the branch."""
    links = launch_links(app.dlbook_address, pagename)
    if not links or context.get("page_source_suffix") != ".ipynb":
        return
    icons = {"Binder": "_static/images/logo_binder.svg", "Colab": "_static/images/logo_colab.png"}
    group = [
        {"type": "link", "text": name, "tooltip": f"Launch on {name}", "icon": icons[name], "url": url}
        for name, url in links.items()
    ]
    context["header_buttons"].insert(0, {
        "type": "group", "tooltip": "Launch this notebook", "icon": "fas fa-rocket", "buttons": group,
        "label": "launch-buttons",
    })  # fmt: skip


def add_history(app, pagename, templatename, context, doctree) -> None:
    """The commit that was built, and the day of the last one that changed the page, for the foot of the page."""
    root = Path(app.confdir)
    suffix = context.get("page_source_suffix")
    context["last_updated"] = suffix and git(root, "log", "-1", "--format=%cs", "--", f"{pagename}{suffix}")
    context["commit"] = git(root, "rev-parse", "--short", "HEAD")


def drop_relative_addresses(app, pagename, templatename, context, doctree) -> None:
    """A social card needs whole addresses: where the site is unknown, rather none than a wrong one."""
    if not app.config.html_baseurl:
        lines = context.get("metatags", "").splitlines(keepends=True)
        context["metatags"] = "".join(line for line in lines if not re.search(NEEDS_SITE, line))


def setup(app) -> dict:
    app.dlbook_address = find(Path(app.confdir))
    app.add_config_value("dlbook_commit", "", "html")  # pages are written again when it changes
    app.connect("config-inited", configure)
    app.connect("html-page-context", add_launch_buttons, priority=502)  # after the theme's buttons
    app.connect("html-page-context", add_history, priority=502)
    app.connect("html-page-context", drop_relative_addresses, priority=900)
    if base_url(app.dlbook_address):
        app.setup_extension("sphinx_sitemap")
    else:  # it warns where there is no address; without it, Sphinx would warn of its settings
        app.add_config_value("sitemap_url_scheme", "", "")
        app.add_config_value("sitemap_excludes", [], "")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
