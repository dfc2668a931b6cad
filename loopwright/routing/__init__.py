"""Who is next, and why. Pure: a chain of plain callables over a request; questions to a model are returned, not asked."""
