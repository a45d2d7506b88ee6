"""Where the book lives: taken from GitHub's environment or from the clone, never with a password, or left out."""

import re
from pathlib import Path

import pytest
import small_book
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_markdown_cell, new_notebook
from small_book import git

from _ext import address

SHA = "0123456789abcdef0123456789abcdef01234567"
PAGE = new_notebook(cells=[new_markdown_cell("# A page\n\nWords.")])
ON_GITHUB = {
    "GITHUB_REPOSITORY": "ada/book",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REF_NAME": "main",
    "GITHUB_SHA": SHA,
}

REMOTES = {
    "https://github.com/ada/book.git": ("https://github.com", "ada/book"),
    "https://github.com/ada/book": ("https://github.com", "ada/book"),
    "https://github.com/ada/book/": ("https://github.com", "ada/book"),
    "https://GitHub.com/Ada/Book.git": ("https://github.com", "Ada/Book"),
    "https://www.github.com/ada/book": ("https://github.com", "ada/book"),
    "http://github.com/ada/book.git": ("https://github.com", "ada/book"),
    "git://github.com/ada/book.git": ("https://github.com", "ada/book"),
    "https://ada@github.com/ada/book.git": ("https://github.com", "ada/book"),
    "https://ada:secret@github.com/ada/book.git": ("https://github.com", "ada/book"),
    "https://x-access-token:ghs_secret@github.com/ada/book": ("https://github.com", "ada/book"),
    "https://ada:se@cret@github.com/ada/book.git": ("https://github.com", "ada/book"),
    "git@github.com:ada/book.git": ("https://github.com", "ada/book"),
    "git@github.com:ada/book": ("https://github.com", "ada/book"),
    "org-1234@github.com:ada/book.git": ("https://github.com", "ada/book"),
    "ssh://git@github.com/ada/book.git": ("https://github.com", "ada/book"),
    "ssh://git@github.com:22/ada/book.git": ("https://github.com", "ada/book"),
    "ssh://git@ssh.github.com:443/ada/book.git": ("https://github.com", "ada/book"),
    "https://github.com/ada/my.book.github.io.git": ("https://github.com", "ada/my.book.github.io"),
    "https://gitlab.com/group/subgroup/book.git": ("https://gitlab.com", "group/subgroup/book"),
    "git@gitlab.com:group/subgroup/book.git": ("https://gitlab.com", "group/subgroup/book"),
    "ssh://git@git.example.org:2222/ada/book.git": ("https://git.example.org", "ada/book"),
}
NO_REMOTES = [
    "", "/srv/git/book.git", "../book", "file:///srv/git/book.git", "C:/Users/ada/book", "book.bundle",
    "https://github.com/book", "https://ada:1/2@github.com/ada/book",
]  # fmt: skip


@pytest.mark.parametrize(("url", "where"), REMOTES.items())
def test_a_remote_is_read_in_every_form_that_git_takes(url, where):
    assert address.remote(url) == where


@pytest.mark.parametrize("url", NO_REMOTES)
def test_a_folder_a_bundle_or_nonsense_is_no_address(url):
    assert address.remote(url) is None


@given(user=st.text(min_size=1, max_size=8), password=st.text(min_size=4, max_size=12))
def test_no_character_of_a_user_or_a_password_comes_through(user, password):
    url = f"https://{user}:{password}@github.com/ada/book.git"
    assert address.remote(url) in (("https://github.com", "ada/book"), None)


@pytest.fixture
def clone(tmp_path):
    """`clone(remote)` makes the folder a clone with one commit, which it returns."""
    return lambda remote=None, branch="main": small_book.clone(tmp_path, remote, branch)


def test_a_clone_knows_its_remote_its_branch_and_its_commit(clone, tmp_path):
    commit = clone("git@github.com:ada/book.git", "fix/typo")
    found = address.find(tmp_path, {})
    assert found == address.Address("https://github.com", "ada/book", "fix/typo", commit)
    assert found.url == "https://github.com/ada/book"


def test_a_clone_without_a_remote_has_no_address(clone, tmp_path):
    clone()
    assert address.find(tmp_path, {}) is None


def test_a_remote_of_another_name_is_not_taken_for_the_books_own(clone, tmp_path):
    clone()
    git(tmp_path, "remote", "add", "upstream", "https://github.com/grace/book.git")
    assert address.find(tmp_path, {}) is None


def test_a_folder_that_is_no_clone_has_no_address(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert address.find(tmp_path, {}) is None


def test_without_git_there_is_no_address(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert address.find(tmp_path, {}) is None


def test_a_detached_head_and_a_clone_without_commits_are_on_main(clone, tmp_path):
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "remote", "add", "origin", "https://github.com/ada/book.git")
    assert address.find(tmp_path, {}).commit == "main"
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "One")
    git(tmp_path, "checkout", "--quiet", "--detach")
    assert address.find(tmp_path, {}).branch == "main"


def test_a_build_on_github_goes_by_its_environment_and_a_forks_build_names_the_fork(clone, tmp_path):
    clone("https://github.com/ada/book.git")
    found = address.find(tmp_path, ON_GITHUB | {"GITHUB_REPOSITORY": "grace/book"})
    assert found == address.Address("https://github.com", "grace/book", "main", SHA)


def test_a_pull_request_is_edited_on_the_branch_that_it_goes_to(tmp_path):
    found = address.find(tmp_path, ON_GITHUB | {"GITHUB_REF_NAME": "12/merge", "GITHUB_BASE_REF": "main"})
    assert (found.branch, found.commit) == ("main", SHA)


def test_github_enterprise_has_its_own_server(tmp_path):
    found = address.find(tmp_path, ON_GITHUB | {"GITHUB_SERVER_URL": "https://github.example.com/"})
    assert found.url == "https://github.example.com/ada/book"
    assert found.provider == "github"
    assert address.launch_links(found, "chapters/softmax") == {}


def at(server: str, path: str = "ada/book") -> address.Address:
    return address.Address(server, path, "main", SHA)


@pytest.mark.parametrize(
    ("server", "provider", "issues"),
    [
        ("https://github.com", "github", True),
        ("https://gitlab.com", "gitlab", True),
        ("https://gitlab.example.org", "gitlab", True),
        ("https://bitbucket.org", "bitbucket", False),
    ],
)
def test_the_buttons_are_those_of_the_server(server, provider, issues):
    buttons = address.buttons(at(server))
    assert buttons["repository_provider"] == provider
    assert buttons["repository_url"] == f"{server}/ada/book"
    assert buttons["repository_branch"] == "main"
    assert (buttons["use_edit_page_button"], buttons["use_issues_button"]) == (True, issues)


@pytest.mark.parametrize("where", [None, at("https://git.example.org")])
def test_without_a_server_that_is_known_there_are_no_buttons(where):
    assert not any(address.buttons(where).values())


def test_binder_and_colab_get_the_commit_and_other_servers_none():
    links = address.launch_links(at("https://github.com"), "chapters/softmax")
    path = "chapters/softmax.ipynb"
    assert links == {
        "Binder": f"https://mybinder.org/v2/gh/ada/book/{SHA}?urlpath=lab/tree/{path}",
        "Colab": f"https://colab.research.google.com/github/ada/book/blob/{SHA}/{path}",
    }
    assert address.launch_links(at("https://gitlab.com"), "chapters/softmax") == {}
    assert address.launch_links(None, "chapters/softmax") == {}


@pytest.mark.parametrize(
    ("where", "environ", "url"),
    [
        (at("https://github.com"), {}, "https://ada.github.io/book/"),
        (at("https://github.com", "Ada/Book"), {}, "https://ada.github.io/Book/"),
        (at("https://github.com", "Ada/ada.github.io"), {}, "https://ada.github.io/"),
        (at("https://gitlab.com"), {}, ""),
        (None, {}, ""),
        (None, {"DLBOOK_BASE_URL": "https://book.example.org"}, "https://book.example.org/"),
        (at("https://github.com"), {"DLBOOK_BASE_URL": "https://example.org/a/"}, "https://example.org/a/"),
    ],
)
def test_the_pages_are_read_at_github_pages_unless_told_otherwise(where, environ, url):
    assert address.base_url(where, environ) == url


@pytest.fixture(scope="module")
def with_address(tmp_path_factory):
    """A book built in a clone whose remote holds a password: (its folder, its pages, its commit)."""
    folder = small_book.write(tmp_path_factory.mktemp("address"), PAGE)
    commit = small_book.clone(folder, "https://ada:opensesame@github.com/ada/book.git", "fix/typo")
    return folder, small_book.build(folder), commit


@pytest.fixture(scope="module")
def without_address(tmp_path_factory):
    folder = small_book.write(tmp_path_factory.mktemp("nowhere"), PAGE)
    small_book.clone(folder)
    return folder, small_book.build(folder)


def links(page: Path) -> set[str]:
    return set(re.findall(r'href="(https?://[^"]+)"', page.read_text(encoding="utf-8")))


def test_a_built_chapter_links_to_its_repository_and_to_its_own_commit(with_address):
    _, (html, _), commit = with_address
    found = links(html / "chapters" / "page.html")
    here = address.Address(address.GITHUB, "ada/book", "fix/typo", commit)
    assert set(address.launch_links(here, "chapters/page").values()) <= found
    assert "https://github.com/ada/book/edit/fix/typo/chapters/page.ipynb" in found
    assert any(link.startswith("https://github.com/ada/book/issues/new") for link in found)


def test_a_page_without_code_has_no_launch_buttons(with_address):
    _, (html, _), _ = with_address
    assert not any("mybinder" in link or "colab" in link for link in links(html / "intro.html"))


def test_a_built_book_has_a_map_of_the_site_and_a_card_for_every_page(with_address):
    _, (html, _), _ = with_address
    assert "<loc>https://ada.github.io/book/chapters/page.html</loc>" in (html / "sitemap.xml").read_text()
    card = (html / "chapters" / "page.html").read_text()
    assert 'property="og:url" content="https://ada.github.io/book/chapters/page.html"' in card
    assert '"/book/_static/' in (html / "404.html").read_text()


def test_the_password_of_the_remote_is_nowhere_in_the_book_nor_in_the_log(with_address):
    folder, (_, log), _ = with_address
    assert "opensesame" not in log
    files = [path for path in (folder / "_build").rglob("*") if path.is_file()]
    assert [path for path in files if b"opensesame" in path.read_bytes()] == []


def test_without_an_address_the_build_says_so_and_no_page_names_one(without_address):
    _, (html, log) = without_address
    assert "neither GITHUB_REPOSITORY nor a remote called origin says where this book lives" in log
    for page in html.rglob("*.html"):
        wrong = [
            link for link in links(page) if re.search(r"mybinder|colab|github\.com/.+/(edit|issues)", link)
        ]
        assert wrong == [], page
        assert "og:url" not in page.read_text(encoding="utf-8")
    assert not (html / "sitemap.xml").exists()
