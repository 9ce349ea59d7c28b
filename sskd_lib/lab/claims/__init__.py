"""Claims on trial: the plan, the trainings, the verdicts and their pictures."""
