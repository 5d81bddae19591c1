"""The gateway by PyPowerFlex: `surface.py HOST PORT CA-FILE USER PASSWORD SDC` does everything that it can do with volumes, snapshots, SDCs
and storage pools, and prints what came of each call, one JSON a line; the last says which methods were not called.

A call that must be refused is made too; its line has the gateway's sentence.
"""

import json
import sys

from PyPowerFlex import PowerFlexClient
from PyPowerFlex.exceptions import PowerFlexClientException
from PyPowerFlex.objects.gen1.volume import RemoveMode
from PyPowerFlex.objects.common.system import SnapshotDef

host, port, ca, user, password, sdc = sys.argv[1:]
client = PowerFlexClient(
    gateway_address=host, gateway_port=int(port), username=user, password=password, verify_certificate=True, certificate_path=ca
)
client.initialize()
volume, system, sdcs, pools = client.volume, client.system, client.sdc, client.storage_pool
called = set()


def step(name, look, call, /, *arguments, **more):
    """Does one step; `look` picks what is shown of the answer."""
    called.add((type(call.__self__).__name__, call.__name__))
    answer = error = facts = None
    try:
        answer = call(*arguments, **more)
        facts = look(answer)
    except PowerFlexClientException as refused:
        error = str(refused)
    print(json.dumps({"step": name, "error": error, "facts": facts}))
    return answer


def field(*names):
    return lambda answer: [answer[name] for name in names]


nothing = lambda answer: None

# Volumes.
pool = step("the pool", lambda a: [a[0]["name"], len(a)], pools.get)[0]["id"]
made = step("create thin", field("name", "sizeInKb", "volumeType", "mappedSdcInfo"), volume.create, pool, 8, "one", "ThinProvisioned")
one = made["id"]
step("create rounds up", field("sizeInKb", "volumeType"), volume.create, pool, 9, "nine", "ThickProvisioned", True, "None")
step("create a name that is there", nothing, volume.create, pool, 8, "one")
step("create a long name", nothing, volume.create, pool, 8, "x" * 32)
step("create nothing", nothing, volume.create, pool, 0, "zero")
step("create in no pool", nothing, volume.create, "ffff000000000000", 8, "lost")
step("get", field("name", "accessModeLimit", "useRmcache"), volume.get, one)
step("get some", lambda a: [v["name"] for v in a], volume.get, filter_fields={"name": "nine"})
step("get fields", dict, volume.get, one, fields=("name", "sizeInKb"))
step("get none", nothing, volume.get, "aaaa000000000000")
step("get no id", nothing, volume.get, "none")
step("get related", lambda a: a["numOfMappedSdcs"], volume.get_related, one, "Statistics")
step("statistics", lambda a: a["numOfMappedSdcs"], volume.get_statistics, one)
step("selected statistics", lambda a: list(a.values()), volume.query_selected_statistics, ["numOfMappedSdcs"], [one])
step("selected statistics of all", len, volume.query_selected_statistics, ["numOfMappedSdcs"])
step("selected statistics that are none", nothing, volume.query_selected_statistics, ["nonsense"])
step("extend", field("sizeInKb"), volume.extend, one, 16)
step("extend to less", nothing, volume.extend, one, 8)
step("extend to a size that is none", nothing, volume.extend, one, 17)
step("rename", nothing, volume.rename, one, "uno")
step("rename to a name that is there", nothing, volume.rename, one, "nine")
mapping = lambda a: [[m[k] for k in ("sdcId", "accessMode", "limitIops", "limitBwInMbps")] for m in a["mappedSdcInfo"] or []]
step("map", mapping, volume.add_mapped_sdc, one, sdc_id=sdc, allow_multiple_mappings=False, access_mode="ReadOnly")
step("map again", nothing, volume.add_mapped_sdc, one, sdc_id=sdc)
step("map to none", nothing, volume.add_mapped_sdc, one, sdc_id="aaaa000000000000")
step("limits", mapping, volume.set_mapped_sdc_limits, one, sdc, "2048", "100")
step("limits that are none", nothing, volume.set_mapped_sdc_limits, one, sdc, "2047", "100")
step("mode of a mapping", mapping, volume.set_access_mode_for_sdc, one, sdc, "ReadWrite")
step("remove while mapped", nothing, volume.delete, one, RemoveMode.only_me)
step("volumes of an SDC", lambda a: [v["name"] for v in a], sdcs.get_mapped_volumes, sdc)
step("unmap", mapping, volume.remove_mapped_sdc, one, sdc_id=sdc)
step("unmap again", nothing, volume.remove_mapped_sdc, one, sdc_id=sdc)
guid = sdcs.get(sdc)["sdcGuid"]
step("map by GUID", mapping, volume.add_mapped_sdc, one, sdc_guid=guid)
step("unmap from all", mapping, volume.remove_mapped_sdc, one, all_sdcs=True)
step("cache", field("useRmcache"), volume.set_use_rmcache, one, True)
step("compression", field("compressionMethod"), volume.set_compression_method, one, "Normal")
step("most that may be done", field("accessModeLimit"), volume.set_volume_access_mode_limit, one, "ReadOnly")
step("most that may be done, wrong", nothing, volume.set_volume_access_mode_limit, one, "Everything")
volume.set_volume_access_mode_limit(one, "ReadWrite")

# Snapshots.
own = step("the system", lambda a: len(a), system.get)[0]["id"]
nine = volume.get(filter_fields={"name": "nine"})[0]["id"]
cut = step("snapshot of two", lambda a: len(a["volumeIdList"]), system.snapshot_volumes, own, [SnapshotDef(one, "s1"), SnapshotDef(nine, "s2")], "ReadOnly")
first = cut["volumeIdList"][0]
step("a snapshot", lambda a: [a["name"], a["volumeType"], a["ancestorVolumeId"] == one, a["accessModeLimit"], a["consistencyGroupId"] == cut["snapshotGroupId"]],
     volume.get, first)
step("snapshot of two, one name taken", nothing, system.snapshot_volumes, own, [SnapshotDef(one, "s3"), SnapshotDef(nine, "s2")])
step("none of them was made", len, volume.get, filter_fields={"name": "s3"})
step("snapshot of none", nothing, system.snapshot_volumes, own, [SnapshotDef("aaaa000000000000", "s4")])
step("lock", nothing, volume.lock_auto_snapshot, first)
step("unlock", nothing, volume.unlock_auto_snapshot, first, True)
step("remove a group", lambda a: a["numberOfVolumes"], system.remove_cg_snapshots, own, cut["snapshotGroupId"])
step("remove a group again", nothing, system.remove_cg_snapshots, own, cut["snapshotGroupId"])
kept = system.snapshot_volumes(own, [SnapshotDef(one, "kept")], "ReadOnly")["volumeIdList"][0]
step("retention", lambda a: a["secureSnapshotExpTime"] > 0, volume.set_retention_period, kept, "1")
step("remove what is secured", nothing, volume.delete, kept, RemoveMode.only_me)
step("remove with what was cut from it", nothing, volume.delete, nine, RemoveMode.including_descendants)
step("remove again", nothing, volume.delete, nine, RemoveMode.only_me)

# The system.
step("version", str, system.api_version, cached=False)
step("component", str, system.component_version, cached=False)
step("cluster", lambda a: a["clusterState"], system.get_mdm_cluster_details)
step("configuration", len, system.get_gateway_configuration_details)
step("system statistics", dict, system.query_selected_statistics, ["numOfSdc"])

# SDCs.
step("SDCs", lambda a: [s["mdmConnectionState"] for s in a], sdcs.get)
step("SDC statistics", lambda a: list(a.values()), sdcs.query_selected_statistics, ["numOfMappedVolumes"], [sdc])
step("SDC related", len, sdcs.get_related, sdc, "Volume")
step("SDC name", nothing, sdcs.rename, sdc, "node-a")
step("SDC profile", nothing, sdcs.set_performance_profile, sdc, "Compact")
step("SDC now", field("name", "perfProfile"), sdcs.get, sdc)
step("remove an SDC that is connected", nothing, sdcs.delete, sdc)

# Pools.
domain = client.protection_domain.get()[0]["id"]
new = step("pool", field("name", "mediaType", "zeroPaddingEnabled"), pools.create, "HDD", domain, name="slow", zero_padding_enabled=False)["id"]
step("pool of that name", nothing, pools.create, "HDD", domain, name="slow")
step("pool in no domain", nothing, pools.create, "HDD", "ffff000000000000", name="lost")
step("pool zeros", field("zeroPaddingEnabled"), pools.set_zero_padding_policy, new, True)
step("pool name", nothing, pools.rename, new, "slower")
step("pool checksum", field("checksumEnabled"), pools.set_checksum_enabled, new, True)
step("pool compression", field("compressionMethod"), pools.set_compression_method, new, "Normal")
step("pool acceleration", field("externalAccelerationType"), pools.set_external_acceleration_type, new, "Read", True)
step("pool media", field("mediaType"), pools.set_media_type, new, "SSD", True)
step("pool rebalance", field("rebalanceEnabled"), pools.set_rebalance_enabled, new, False)
step("pool rebuild", field("rebuildEnabled"), pools.set_rebuild_enabled, new, False)
step("pool spare", field("sparePercentage"), pools.set_spare_percentage, new, 20)
step("pool rfcache", field("useRfcache"), pools.set_use_rfcache, new, True)
step("pool rmcache", field("useRmcache"), pools.set_use_rmcache, new, True)
step("pool journal", field("replicationCapacityMaxRatio"), pools.set_rep_cap_max_ratio, new, 20)
step("pool alerts", field("capacityAlertHighThreshold", "capacityAlertCriticalThreshold"), pools.set_cap_alert_thresholds, new, 60, 70)
limited = ("limitNumOfConcurrentIos", "2", "1024")
step("pool maintenance", nothing, pools.set_protected_maintenance_mode_io_priority_policy, new, *limited)
step("pool migration", nothing, pools.set_vtree_migration_io_priority_policy, new, *limited)
step("pool balance", nothing, pools.rebalance_io_priority_policy, new, *limited)
step("pool cache writes", field("rmcacheWriteHandlingMode"), pools.set_rmcache_write_handling_mode, new, "Passthrough")
step("pool parallel", field("numOfParallelRebuildRebalanceJobsPerDevice"), pools.set_rebuild_rebalance_parallelism_limit, new, 4)
step("pool persistent", field("persistentChecksumEnabled"), pools.set_persistent_checksum, new, True, True, 2048)
step("pool persistent more", field("persistentChecksumBuilderLimitKb"), pools.modify_persistent_checksum, new, True, 1024)
step("pool fragments", field("fragmentationEnabled"), pools.set_fragmentation_enabled, new, False)
step("pool statistics", lambda a: a["numOfVolumes"], pools.get_statistics, new)
step("pool selected", lambda a: list(a.values()), pools.query_selected_statistics, ["numOfVolumes"], [new])
step("pool selected, all", len, pools.query_selected_statistics, ["capacityLimitInKb"])
step("pool volumes", len, pools.get_volumes, pool)
step("pool devices", len, pools.get_devices, pool)
step("pool servers", nothing, pools.get_related, pool, "SpSds")
step("remove a pool", nothing, pools.delete, new)
step("remove a pool with volumes", nothing, pools.delete, pool)

methods = {
    (type(part).__name__, name)
    for part in (volume, sdcs, pools)
    for name in dir(part)
    if not name.startswith("_") and callable(getattr(part, name)) and not name.startswith(("send_", "get_auth", "get_api", "log"))
}
print(json.dumps({"step": "not called", "error": None, "facts": sorted(".".join(m) for m in methods - called)}))
