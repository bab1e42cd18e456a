from .pages import Built as Built, build as build
