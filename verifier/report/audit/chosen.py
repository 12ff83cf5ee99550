"""What a project file chose of an audit, in words."""

from verifier.model.report import Report


def by_project(report: Report) -> str:
    """What a project file chose of the audit; "" where none did."""
    project = report.project
    if project is None:
        return ""
    sets = "; ".join(f"{name} {' '.join(values)}" for name, values in project.settings)
    return (
        f"{project.name} (sha256 {project.sha256[:16]}…) chose: {sets}. Whoever wrote that file "
        "chose this, not who ran the audit."
    )


def policy_origin(report: Report) -> str:
    """Where the policy came from, in brackets; "" where who ran the audit chose it."""
    chosen = report.project is not None and report.project.of("--policy")
    return " (from the project file)" if chosen else ""
