from .building import Built as Built, build as build
