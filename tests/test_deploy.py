"""deploy/kubernetes against the schemas of Kubernetes, and against what it deploys."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from f2at.__main__ import COMMANDS
from f2at.serving.settings import Settings

REPOSITORY = Path(__file__).parents[1]
FOLDER = REPOSITORY / "deploy" / "kubernetes"
README = (REPOSITORY / "deploy" / "README.md").read_text(encoding="utf-8")
VERSION = "1.31"  # preStop.sleep is from 1.30 on
FILES = sorted(path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml")
Manifest = dict[str, Any]


def manifests(kind: str = "") -> list[Manifest]:
    documents = [document for file in FILES for document in yaml.safe_load_all(file.read_text())]
    return [document for document in documents if kind in ("", document["kind"])]


def name(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def pod(deployment: Manifest) -> Manifest:
    specification: Manifest = deployment["spec"]["template"]["spec"]
    return specification


def containers() -> Iterator[tuple[Manifest, Manifest]]:
    for deployment in manifests("Deployment"):
        for container in pod(deployment)["containers"]:
            yield pod(deployment), container


def environment(container: Manifest) -> dict[str, str]:
    (config,) = manifests("ConfigMap")
    own = {entry["name"]: entry["value"] if "value" in entry else secret(entry) for entry in container["env"]}
    return {**config["data"], **own}


def secret(entry: Manifest) -> str:
    """What the Secret may have for a variable."""
    key: str = entry["valueFrom"]["secretKeyRef"]["key"]
    return {"database-url": "postgresql://from-a-secret", "webhook-urls": "https://from.a.secret"}[key]


OWN = [manifest for manifest in manifests() if not manifest["apiVersion"].startswith("keda.sh/")]


@pytest.mark.parametrize("manifest", OWN, ids=name)
def test_a_manifest_is_what_kubernetes_accepts(manifest: Manifest) -> None:
    kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_the_schemas_see_mistakes() -> None:
    deployment = manifests("Deployment")[0]
    pod(deployment)["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSION, strict=True)


def test_kustomize_applies_every_file() -> None:
    """Those in a folder below as a component, which is added where it is wanted."""
    lists = {file.parent: yaml.safe_load(file.read_text()) for file in FOLDER.rglob("kustomization.yaml")}
    assert sorted(folder / name for folder, listed in lists.items() for name in listed["resources"]) == FILES


def test_settings_are_spelt_right() -> None:
    """A variable that no setting reads would be ignored silently."""
    known = {f"F2AT_{name.upper()}" for name in Settings.model_fields}
    for _, container in containers():
        given = environment(container)
        assert {name for name in given if name.startswith("F2AT_")} <= known
        with pytest.MonkeyPatch.context() as process:
            for name, value in given.items():
                process.setenv(name, value)
            settings = Settings()
        assert settings.worker == (container["name"] != "server")
        assert settings.database_url.startswith("postgresql://")


def test_containers_may_do_little() -> None:
    for specification, container in containers():
        assert specification["automountServiceAccountToken"] is False
        assert specification["securityContext"]["runAsNonRoot"] is True
        assert specification["securityContext"]["runAsUser"] == 1034
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert container["resources"]["limits"]["memory"]


def test_every_path_is_mounted_from_somewhere() -> None:
    for specification, container in containers():
        volumes = {volume["name"]: volume for volume in specification["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        assert set(volumes) == {mount["name"] for mount in container["volumeMounts"]}
        given = environment(container)
        for variable in ("F2AT_STATE", "BENTOML_HOME", "MPLCONFIGDIR"):
            assert "emptyDir" in mounts["/" + Path(given[variable]).parts[1]]
        files = {item["path"] for item in mounts["/secrets"]["secret"]["items"]}
        assert {Path(value).name for value in given.values() if value.startswith("/secrets/")} == files


def test_selectors_find_their_pods() -> None:
    pods = [deployment["spec"]["template"]["metadata"]["labels"] for deployment in manifests("Deployment")]
    for manifest in manifests():
        spec = manifest.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector")
        if selector is None:
            continue
        wanted = selector.get("matchLabels", selector)
        found = [labels for labels in pods if wanted.items() <= labels.items()]
        assert len(found) == (len(pods) if name(manifest) == "NetworkPolicy f2at" else 1)


def test_what_is_scaled_is_deployed() -> None:
    """KEDA's schemas are none of Kubernetes' own; what this package says in them is little, and is held here."""
    deployments = {manifest["metadata"]["name"] for manifest in manifests("Deployment")}
    (servers,), (workers,) = manifests("HorizontalPodAutoscaler"), manifests("ScaledObject")
    assert servers["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "f2at-server"}
    assert workers["spec"]["scaleTargetRef"] == {"name": "f2at-worker"}
    assert {"f2at-server", "f2at-worker"} <= deployments
    (trigger,) = workers["spec"]["triggers"]
    assert (trigger["type"], set(trigger["metadata"])) == ("postgresql", {"query", "targetQueryValue"})
    assert float(trigger["metadata"]["targetQueryValue"]) > 0
    (authentication,) = manifests("TriggerAuthentication")
    assert trigger["authenticationRef"] == {"name": authentication["metadata"]["name"]}
    (reference,) = authentication["spec"]["secretTargetRef"]
    (worker,) = (container for _, container in containers() if container["name"] == "worker")
    (url,) = (entry for entry in worker["env"] if entry["name"] == "F2AT_DATABASE_URL")
    assert {key: reference[key] for key in ("name", "key")} == url["valueFrom"]["secretKeyRef"]
    assert reference["parameter"] == "connection"


def test_what_is_probed_is_served() -> None:
    (server,) = (container for _, container in containers() if container["name"] == "server")
    assert {server[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness")} == {"/readyz"}
    assert server["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert server["args"] == ["serve", "--port", str(server["ports"][0]["containerPort"])]
    stop = int(environment(server)["F2AT_GRACE"]) + server["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert stop < pod(manifests("Deployment")[0])["terminationGracePeriodSeconds"]


def test_what_is_run_is_a_command() -> None:
    """Of containers, what the image's entry point does not take for itself; and what the README says to type."""
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    for _, container in containers():
        program, *arguments = container["args"]
        if program != "serve":  # BentoML's, which serves the Bento of the image
            assert program in scripts
            assert arguments[0] in COMMANDS
    blocks = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    typed = re.findall(r"(?:^|&& )(?:\w+=\S+ )*f2at (\S+)", blocks, re.MULTILINE)
    assert "pin" in typed
    assert set(typed) <= set(COMMANDS)
