"""``hatch run docs``: write the site, and see that each of its links leads somewhere."""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config

from tools.address import ADDRESS, BRANCH, PACKAGES, ROOT
from tools.site.links import broken_links
from tools.site.pages import write_pages


def write_site(out: Path, *, api: bool = True) -> None:
    """Write the site.

    Args:
        out: Its folder, replaced as a whole.
        api: Whether with the pages of public names, which take the longest.

    Raises:
        mkdocs.exceptions.Abort: For a link of a page that leads nowhere, or a page that is not in
            the navigation.
    """
    with tempfile.TemporaryDirectory() as name:
        write_pages(Path(name))
        config = load_config(
            str(Path(__file__).with_name("mkdocs.yml")),
            docs_dir=name,
            site_dir=str(out),
            strict=True,
        )
        build(config)
    (out / "404.html").unlink()  # its links hold at the root of a host alone
    if api:
        write_api(out / "api")


def write_api(out: Path) -> None:
    """Write the pages of all public names of the packages, from their docstrings."""
    words = ["--docformat", "google", "--math", "--output-directory", str(out)]
    words += ["--template-directory", str(Path(__file__).with_name("templates"))]
    for name in PACKAGES:
        module = name.replace("-", "_")
        seen = f"{ADDRESS}/blob/{BRANCH}/packages/{name}/src/{module}/"
        words += ["--edit-url", f"{module}={seen}"]
    modules = [name.replace("-", "_") for name in PACKAGES]
    subprocess.run([sys.executable, "-m", "pdoc", *words, *modules], check=True, cwd=ROOT)


def main() -> int:
    """Write and check; 1 if a link leads nowhere."""
    parser = argparse.ArgumentParser(prog="hatch run docs", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder [site]")
    out: Path = parser.parse_args().out
    if out.exists() and any(out.iterdir()) and not (out / "sitemap.xml").exists():
        parser.error(f"{out} holds something else than a site; give another --out")
    shutil.rmtree(out, ignore_errors=True)
    write_site(out)
    broken = broken_links(out)
    print(*broken, sep="\n", end="\n" if broken else "")
    print(
        f"{out}/index.html: {sum(1 for _ in out.rglob('*.html'))} pages, {len(broken)} broken links"
    )
    return bool(broken)


if __name__ == "__main__":
    raise SystemExit(main())
