"""``manage.py describe_functions``: a page about the project's functions and contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand
from django.utils.module_loading import autodiscover_modules

from ctxkit.functions import describe

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Print a page about functions and contracts; imports ``functions`` of each app first."""

    help = (
        "Print a page about every function and contract of ctxkit, as Markdown. "
        "The module `functions` of each app is imported, if there is one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--schemas", action="store_true", help="with their JSON Schema")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002 - as Django calls it
        """Run the command."""
        autodiscover_modules("functions")
        self.stdout.write(describe(schemas=options["schemas"]), ending="")
