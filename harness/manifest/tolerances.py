"""How near is near enough, claim by claim: what a run declares before it makes its records."""

from harness.manifest.claims import ExactClaim
from harness.manifest.model import Manifest


def tolerances(manifest: Manifest) -> dict[str, float]:
    """Each claim's tolerance by its name; of an exact one half a unit of the last decimal."""
    return {
        claim.name: 0.5 * 10.0**-claim.decimals
        if isinstance(claim, ExactClaim)
        else claim.tolerance.value
        for claim in manifest.claims
    }
