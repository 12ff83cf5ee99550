"""An independent auditor of applications in dstack confidential VMs."""
