"""Everything that runs methods: data, training, scheduling, the store of results and what is made of them."""
