"""Reports: each is one HTML file that opens without a network, and runs nothing."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template


def page(package: str) -> Template:
    """The ``page.html`` of a package, in the ``layout.html`` of all of them."""
    pages = Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader("batch", "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("page.html")
