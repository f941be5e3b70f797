"""How near is near enough, claim by claim: what a run declares before it makes its records."""

from harness.manifest.claims import BandClaim, Claim, ExactClaim
from harness.manifest.model import Manifest


def tolerances(manifest: Manifest) -> dict[str, float]:
    """Each claim's tolerance by its name."""
    return {claim.name: tolerance(claim) for claim in manifest.claims}


def tolerance(claim: Claim) -> float:
    """How far off still holds; for an exact claim half a unit of the last decimal, for the reader:
    there, equality decides."""
    return half_unit(claim) if isinstance(claim, ExactClaim) else claim.tolerance.value


def half_unit(claim: Claim) -> float:
    """Half a unit of the last printed digit; 0 where the manifest does not say which that is."""
    decimals = None if isinstance(claim, BandClaim) else claim.decimals
    return 0.0 if decimals is None else 0.5 * 10.0**-decimals
