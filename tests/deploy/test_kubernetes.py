"""The manifests: rendered by kubectl, held against Kubernetes' own schemas, and against what they speak of."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import dabt
from lifecycle.upkeep.doctor.settings import VARIABLES
from service import routes_ops
from service.access.authentication import OPEN
from service.cluster.nodes import NODE_VARIABLES
from service.config import ServeConfig
from tests.deploy.test_dockerfile import environment, last, stages

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ["cpu", "gpu", "ray"]
FOREIGN = {"ServiceMonitor", "RayService"}
"""Of operators: Kubernetes has no schema of them."""
SECRETS = {
    "dabt-registry": {"url"},
    "dabt-artifacts": {"url"},
    "dabt-limits": {"url"},
    "dabt-gcs": {"password"},
    "dabt-keys": {"console", "worker", "metrics"},
}
Manifest = dict[str, Any]


@cache
def rendered(overlay: str) -> tuple[Manifest, ...]:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl: install it, or Debian's package kubernetes-client, to run this")
    command = ["kubectl", "kustomize", str(FOLDER / "overlays" / overlay)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, kind: str) -> list[Manifest]:
    return [manifest for manifest in rendered(overlay) if manifest["kind"] == kind]


def templates(overlay: str) -> Iterator[tuple[str, Manifest]]:
    """Name of a workload, and each template of its pods."""

    def inside(node: Any) -> Iterator[Manifest]:
        if isinstance(node, dict):
            if "containers" in node.get("spec", {}):
                yield node
            for child in node.values():
                yield from inside(child)
        elif isinstance(node, list):
            for child in node:
                yield from inside(child)

    for manifest in rendered(overlay):
        for template in inside(manifest):
            yield f"{manifest['kind']} {manifest['metadata']['name']}", template


def containers(overlay: str) -> Iterator[tuple[str, Manifest, Manifest]]:
    for name, template in templates(overlay):
        for container in template["spec"]["containers"]:
            yield name, template["spec"], container


def labels_fit(selector: Manifest, labels: Manifest) -> bool:
    assert set(selector) == {"matchLabels"}
    return bool(selector["matchLabels"].items() <= labels.items())


each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@each_overlay
@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_all_that_kubernetes_knows_is_as_its_schemas_have_it(overlay: str, version: str) -> None:
    import kubernetes_validate

    unknown = set()
    for manifest in rendered(overlay):
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(manifest["kind"])
    assert unknown <= FOREIGN
    for name, template in templates(overlay):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "of"}, "template": template}
        try:
            kubernetes_validate.validate(pod, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{name}: {error}")


def test_a_manifest_with_a_field_that_is_none_is_refused() -> None:
    """Else the test before this one could not fail."""
    import kubernetes_validate

    (deployment,) = [one for one in of_kind("cpu", "Deployment") if one["metadata"]["name"] == "dabt"]
    wrong = {**deployment, "spec": {**deployment["spec"], "replicaz": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.31", strict=True)


@each_overlay
def test_no_pod_has_rights_that_it_does_not_need(overlay: str) -> None:
    for name, pod, container in containers(overlay):
        assert pod["securityContext"]["runAsNonRoot"], name
        assert str(pod["securityContext"]["runAsUser"]) == last("cpu", "USER") == last("cuda", "USER")
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        may = container["securityContext"]
        assert (may["readOnlyRootFilesystem"], may["allowPrivilegeEscalation"]) == (True, False), name
        assert may["capabilities"] == {"drop": ["ALL"]}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
        assert pod["serviceAccountName"] == of_kind(overlay, "ServiceAccount")[0]["metadata"]["name"]
        # The autoscaler of a Ray cluster runs in its head and asks for nodes; nobody else speaks with the cluster.
        assert pod["automountServiceAccountToken"] is (container["name"] == "ray-head")
    (namespace,) = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@each_overlay
def test_every_place_that_is_written_is_a_volume_and_every_volume_is_mounted(overlay: str) -> None:
    target = of_image(overlay)
    written = {value for value in environment(target).values() if value.startswith("/data")} | {"/data/runs", "/tmp"}
    for name, pod, container in containers(overlay):
        writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
        for place in (*written, variables(container)["HOME"]):
            assert any(place == at or place.startswith(f"{at}/") for at in writable), (name, place)
        names = [volume["name"] for volume in pod["volumes"]]
        mounted = [mount["name"] for mount in container["volumeMounts"]]
        assert sorted(names) == sorted(mounted), name
        for volume in pod["volumes"]:
            if settings := volume.get("configMap"):
                assert settings["name"] in [one["metadata"]["name"] for one in of_kind(overlay, "ConfigMap")]


def of_image(overlay: str) -> str:
    """The one target of the Dockerfile whose image all pods run."""
    (image,) = {container["image"] for _, _, container in containers(overlay)}
    name, _, target = image.partition(":")
    assert name == "dabt"
    return str(target)


def variables(container: Manifest) -> dict[str, str]:
    """Those with their value in the manifest."""
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


@each_overlay
def test_images_are_targets_of_the_dockerfile(overlay: str) -> None:
    assert of_image(overlay) in stages()
    assert (f"-t dabt:{of_image(overlay)}") in (ROOT / "Dockerfile").read_text(encoding="utf-8")


@each_overlay
def test_secrets_are_named_and_never_written_and_every_variable_is_read(overlay: str) -> None:
    assert of_kind(overlay, "Secret") == []
    told = (FOLDER / "base" / "settings.yaml").read_text(encoding="utf-8")
    for _, _, container in containers(overlay):
        for variable in container["env"]:
            if source := variable.get("valueFrom", {}).get("secretKeyRef"):
                assert source["key"] in SECRETS[source["name"]]
                assert source["name"] in told
            else:
                assert variable["name"] in {"HOME", "RAY_TMPDIR"}, "what is no secret stands in the settings"
        names = {variable["name"] for variable in container["env"]}
        (settings,) = [one for one in of_kind(overlay, "ConfigMap") if one["metadata"]["name"] == "dabt"]
        assert {name for name in names | settings["data"].keys() if name.startswith("DABT_")} <= set(VARIABLES)
        references = [(kind, of["name"]) for one in container["envFrom"] for kind, of in one.items()]
        of_ray = [("configMapRef", "dabt-ray")] if container["name"].startswith("ray") else []
        assert references == [("configMapRef", "dabt"), *of_ray, ("secretRef", "dabt-artifacts")]
        assert {"DABT_REGISTRY_URL", "DABT_ARTIFACTS_URL"} <= names


def test_the_guide_makes_the_secrets_that_the_pods_ask_for() -> None:
    guide = (ROOT / "docs" / "guides" / "kubernetes.md").read_text(encoding="utf-8").replace("\\\n", "")
    made = {
        name: set(re.findall(r"--from-literal=(\w+)=", words))
        for name, words in re.findall(r"create secret generic (\S+)(.*)", guide)
    }
    assert made.keys() == SECRETS.keys()
    assert all(SECRETS[name] <= keys for name, keys in made.items())


@each_overlay
def test_commands_are_the_projects_own_and_take_these_options(overlay: str) -> None:
    root: Any = typer.main.get_command(dabt.app)
    for name, _, container in containers(overlay):
        if name.startswith("RayService"):
            continue
        verb, *options = container["args"]
        command = root.commands[verb]
        given = ["--base", "examples/clinic/base_model"] if verb == "worker" else []  # else from DABT_BASE
        command.make_context(verb, [*options, *given])
        assert container["image"].startswith("dabt:"), "its entry point is the command"


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_probes_ask_routes_that_are_there_without_a_key_and_the_service_listens_where_they_ask(overlay: str) -> None:
    (pod, service) = next((pod, one) for name, pod, one in containers(overlay) if name == "Deployment dabt")
    routes = {route.path: route.methods for route in routes_ops.router.routes}  # type: ignore[attr-defined]
    asked = {kind: service[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    for probe in asked.values():
        assert "GET" in routes[probe["path"]]
        assert probe["path"] in OPEN
    assert {kind: probe["path"] for kind, probe in asked.items()} == {
        "startup": "/health",
        "liveness": "/health",
        "readiness": "/ready",
    }
    ports = {port["name"]: port["containerPort"] for port in service["ports"]}
    assert ports == {"http": ServeConfig.model_fields["port"].default}
    assert {probe["port"] for probe in asked.values()} == set(ports)
    (told,) = [one for one in of_kind(overlay, "Service") if one["metadata"]["name"] == "dabt"]
    assert told["spec"]["ports"][0]["targetPort"] in ports
    # The last request is answered before the pod is killed.
    sleep = int(service["lifecycle"]["preStop"]["exec"]["command"][1])
    (drain,) = [int(word.rpartition("=")[2]) for word in service["args"] if word.startswith("--drain-seconds")]
    assert pod["terminationGracePeriodSeconds"] > sleep + drain


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_a_new_pod_is_ready_before_an_old_one_stops_and_a_node_can_be_emptied(overlay: str) -> None:
    (deployment,) = [one for one in of_kind(overlay, "Deployment") if one["metadata"]["name"] == "dabt"]
    rolling = deployment["spec"]["strategy"]["rollingUpdate"]
    assert rolling["maxUnavailable"] == 0
    assert rolling["maxSurge"] >= 1
    (budget,) = of_kind(overlay, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1, "0 would keep a node from ever being emptied"
    assert labels_fit(budget["spec"]["selector"], deployment["spec"]["template"]["metadata"]["labels"])


@each_overlay
def test_selectors_find_the_pods_that_they_mean(overlay: str) -> None:
    for deployment in of_kind(overlay, "Deployment"):
        assert labels_fit(deployment["spec"]["selector"], deployment["spec"]["template"]["metadata"]["labels"])
    pods = [template["metadata"]["labels"] for _, template in templates(overlay)]
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind(overlay, "NetworkPolicy")}
    for name, policy in policies.items():
        assert any(labels_fit(policy["podSelector"], labels) for labels in pods), name
    nobody = policies["dabt-nobody"]
    assert not {"ingress", "egress"} & nobody.keys()
    assert nobody["policyTypes"] == ["Ingress", "Egress"]
    for labels in pods:
        assert labels_fit(nobody["podSelector"], labels), "every pod is closed but for what another policy opens"
    opened = {port["port"] for rule in policies["dabt-callers"]["ingress"] for port in rule["ports"]}
    assert opened == {ServeConfig.model_fields["port"].default}


@each_overlay
def test_every_container_says_what_it_needs(overlay: str) -> None:
    for name, _, container in containers(overlay):
        assert {"cpu", "memory", "ephemeral-storage"} <= container["resources"]["requests"].keys(), name
        assert "memory" in container["resources"]["limits"]
        gpus = [container["resources"][kind].get("nvidia.com/gpu") for kind in ("requests", "limits")]
        assert gpus[0] == gpus[1]
    if overlay == "gpu":
        trained = next(one for name, _, one in containers(overlay) if name == "CronJob dabt-training")
        assert trained["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert "--once" in trained["args"], "a Job ends when nothing waits"


def test_prometheus_finds_the_service_by_the_label_and_the_port_that_it_has() -> None:
    (monitor,) = of_kind("gpu", "ServiceMonitor")
    (service,) = of_kind("gpu", "Service")
    assert labels_fit(monitor["spec"]["selector"], service["metadata"]["labels"])
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert endpoint["path"] in {route.path for route in routes_ops.router.routes}  # type: ignore[attr-defined]
    credentials = endpoint["authorization"]["credentials"]
    assert credentials["key"] in SECRETS[credentials["name"]]
    assert monitor["metadata"]["namespace"] == service["metadata"]["namespace"]


@each_overlay
def test_no_pod_has_a_volume_that_ties_it_to_a_node_or_a_storage_class(overlay: str) -> None:
    """Runs go on from the bucket, wherever the next worker is."""
    assert of_kind(overlay, "PersistentVolumeClaim") == []
    for name, pod, _ in containers(overlay):
        assert not [volume for volume in pod["volumes"] if "persistentVolumeClaim" in volume], name


def test_ray_grows_a_second_cluster_step_by_step_and_runs_the_release_that_is_locked() -> None:
    (service,) = of_kind("ray", "RayService")
    upgrade = service["spec"]["upgradeStrategy"]
    assert upgrade["type"] == "NewClusterWithIncrementalUpgrade"
    options = upgrade["clusterUpgradeOptions"]
    assert set(options) == {"gatewayClassName", "maxSurgePercent", "stepSizePercent", "intervalSeconds"}
    assert 0 < options["stepSizePercent"] <= options["maxSurgePercent"] <= 100
    assert service["spec"]["rayClusterConfig"]["enableInTreeAutoscaling"] is True, "the upgrade scales both clusters"
    locked = (ROOT / "requirements" / f"{of_image('ray')}.lock").read_text(encoding="utf-8").splitlines()
    assert f"ray=={service['spec']['rayClusterConfig']['rayVersion']}" in locked


def test_what_rays_head_knows_outlives_it_in_a_redis_that_is_named_as_kuberay_asks() -> None:
    """KubeRay refuses the same told in another way; it has workers wait for the next head by itself."""
    cluster = of_kind("ray", "RayService")[0]["spec"]["rayClusterConfig"]
    kept = cluster["gcsFaultToleranceOptions"]
    assert set(kept) == {"redisAddress", "redisPassword"}, "each cluster's keys begin with its own id unless told"
    host, _, port = kept["redisAddress"].partition(":")
    assert host
    opened = [port for one in of_kind("ray", "NetworkPolicy") if one["metadata"]["name"] == "dabt-out"
              for rule in one["spec"]["egress"] for port in rule["ports"]]  # fmt: skip
    assert int(port) in [one["port"] for one in opened]
    reference = kept["redisPassword"]["valueFrom"]["secretKeyRef"]
    assert reference["key"] in SECRETS[reference["name"]]
    assert set(kept["redisPassword"]) == {"valueFrom"}, "a password is never written here"
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0", "no replica is lost with the head"
    assert "redis-password" not in head["rayStartParams"]
    for _, _, container in containers("ray"):
        names = {variable["name"] for variable in container["env"]}
        assert not names & {"RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "RAY_gcs_rpc_server_reconnect_timeout_s"}


def test_nodes_of_ray_are_told_what_those_of_one_machine_are_and_the_image_has_the_proxy() -> None:
    (told,) = [one["data"] for one in of_kind("ray", "ConfigMap") if one["metadata"]["name"] == "dabt-ray"]
    assert told == NODE_VARIABLES
    locked = (ROOT / "requirements" / f"{of_image('ray')}.lock").read_text(encoding="utf-8")
    assert "\nray-haproxy==" in locked
    assert "/tmp" in {mount["mountPath"] for _, _, each in containers("ray") for mount in each["volumeMounts"]}


def test_ray_serves_the_application_with_settings_that_it_takes(tmp_path: Path) -> None:
    (service,) = of_kind("ray", "RayService")
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    (settings,) = [one for one in of_kind("ray", "ConfigMap") if one["metadata"]["name"] == "dabt-cluster"]
    file = Path(application["args"]["settings"])
    for _, _, container in containers("ray"):
        if container["name"].startswith("ray"):
            assert {"name": "cluster", "mountPath": str(file.parent), "readOnly": True} in container["volumeMounts"]
    module, _, builder = application["import_path"].partition(":")
    cluster = pytest.importorskip("service.cluster.settings", reason="Ray's tiers are not in this checkout")
    (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8").index(f"def {builder}(")
    (tmp_path / file.name).write_text(settings["data"][file.name], encoding="utf-8")
    assert cluster.read_settings(tmp_path / file.name).bases
