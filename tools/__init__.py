"""What builds the documentation and checks a release; no part of the package."""
