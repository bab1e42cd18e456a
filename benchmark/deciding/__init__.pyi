from .adding import carry_out as carry_out, prepare as prepare, print_plan as print_plan
