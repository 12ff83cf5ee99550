"""What is published of the contracts: selectors, topics, slots' order, log order.

Source: Dstack-TEE/dstack kms/auth-eth/contracts, generations G3 (KmsAuth, AppAuth), G5 and G6
(DstackKms, DstackApp); amiller/dstack-tutorial TimelockAppAuth.sol; OpenZeppelin 5; Safe 1.3, 1.4.
"""

from collections.abc import Mapping
from typing import Final

BOOT_INFO: Final = "(address,bytes32,address,bytes32,bytes32,bytes32,bytes32,string,string[])"
KMS_INFO: Final = "(bytes,bytes,bytes,bytes)"

ALL_KMS: Final = ("KmsG3", "KmsG5", "KmsG6")
ALL_APPS: Final = ("AppG3", "AppG5", "AppG6")
PROXIED: Final = (*ALL_KMS, *ALL_APPS)
SAFES: Final = ("Safe13", "Safe14")

SELECTORS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "kmsInfo()": ("09177063", ALL_KMS),
    "gatewayAppId()": ("95f51931", ALL_KMS),
    "registeredApps(address)": ("a6c4cce9", ("KmsG5", "KmsG6")),
    "apps(address)": ("1309ec43", ("KmsG3",)),
    "nextAppId()": ("38226c2a", ("KmsG3",)),
    "nextAppSequence(address)": ("b7b556eb", ("KmsG3",)),
    "kmsAllowedAggregatedMrs(bytes32)": ("f6fe4f40", ALL_KMS),
    "kmsAllowedDeviceIds(bytes32)": ("13eb9770", ALL_KMS),
    "allowedOsImages(bytes32)": ("9a4e1d18", ALL_KMS),
    "appImplementation()": ("25a992da", ("KmsG5", "KmsG6")),
    "appAuthImplementation()": ("65638829", ("KmsG3",)),
    f"isAppAllowed({BOOT_INFO})": ("1e079198", (*PROXIED, "EvilApp", "TimelockApp")),
    f"isKmsAllowed({BOOT_INFO})": ("e067ec9d", ALL_KMS),
    "registerApp(address)": ("17a1d80f", ALL_KMS),
    "deployAndRegisterApp(address,bool,bool,bytes32,bytes32)": ("8618169d", ALL_KMS),
    "deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32)": ("9cb9c31f", ("KmsG6",)),
    f"setKmsInfo({KMS_INFO})": ("7d025352", ALL_KMS),
    "setKmsQuote(bytes)": ("18c1ecb2", ALL_KMS),
    "setKmsEventlog(bytes)": ("736ede7a", ALL_KMS),
    "setGatewayAppId(string)": ("3971db27", ALL_KMS),
    "setAppImplementation(address)": ("3ceaaa11", ("KmsG5", "KmsG6")),
    "setAppAuthImplementation(address)": ("2cb14032", ("KmsG3",)),
    "addKmsAggregatedMr(bytes32)": ("3e32d346", ALL_KMS),
    "removeKmsAggregatedMr(bytes32)": ("2adee48d", ALL_KMS),
    "addKmsDevice(bytes32)": ("4d5922a1", ALL_KMS),
    "removeKmsDevice(bytes32)": ("9e6f3114", ALL_KMS),
    "addOsImageHash(bytes32)": ("06a3ae96", ALL_KMS),
    "removeOsImageHash(bytes32)": ("9425bac6", ALL_KMS),
    "initialize(address,address)": ("485cc955", ALL_KMS),
    "upgradeToAndCall(address,bytes)": ("4f1ef286", PROXIED),
    "proxiableUUID()": ("52d1902d", PROXIED),
    "UPGRADE_INTERFACE_VERSION()": ("ad3cb1cc", PROXIED),
    "owner()": ("8da5cb5b", (*PROXIED, "TimelockApp")),
    "transferOwnership(address)": ("f2fde38b", PROXIED),
    "renounceOwnership()": ("715018a6", PROXIED),
    "allowedComposeHashes(bytes32)": ("2f6622e5", (*ALL_APPS, "TimelockApp")),
    "allowedDeviceIds(bytes32)": ("bf8b211b", ALL_APPS),
    "allowAnyDevice()": ("3440a16a", (*ALL_APPS, "TimelockApp")),
    "requireTcbUpToDate()": ("0aa58c83", ("AppG6",)),
    "version()": ("54fd4d50", ("AppG6",)),
    "appId()": ("80afdea8", ("AppG3",)),
    "addComposeHash(bytes32)": ("dfc77223", ALL_APPS),
    "removeComposeHash(bytes32)": ("67b3f22c", (*ALL_APPS, "TimelockApp")),
    "addDevice(bytes32)": ("2a819728", ALL_APPS),
    "removeDevice(bytes32)": ("1d266200", ALL_APPS),
    "setAllowAnyDevice(bool)": ("7c4beeb8", ALL_APPS),
    "setRequireTcbUpToDate(bool)": ("6e4c7422", ("AppG6",)),
    "disableUpgrades()": ("ec669036", ALL_APPS),
    "initialize(address,bool,bool,bytes32,bytes32)": ("187515ca", ("AppG5", "AppG6")),
    "initialize(address,bool,bool,bool,bytes32,bytes32)": ("9ed28193", ("AppG6",)),
    "initialize(address,address,bool,bool,bytes32,bytes32)": ("48d8a36a", ("AppG3",)),
    "supportsInterface(bytes4)": ("01ffc9a7", (*PROXIED, "TimelockController")),
    "noticePeriod()": ("9b14d4c6", ("TimelockApp",)),
    "proposedAt(bytes32)": ("7c9fb258", ("TimelockApp",)),
    "activatesAt(bytes32)": ("a6e38615", ("TimelockApp",)),
    "proposeComposeHash(bytes32)": ("dc04e893", ("TimelockApp",)),
    "activateComposeHash(bytes32)": ("28e7654f", ("TimelockApp",)),
    "cancelProposal(bytes32)": ("37376ca8", ("TimelockApp",)),
    "getThreshold()": ("e75235b8", SAFES),
    "getOwners()": ("a0e67e2b", SAFES),
    "VERSION()": ("ffa1ad74", SAFES),
    "getModulesPaginated(address,uint256)": ("cc2f8452", SAFES),
    "getMinDelay()": ("f27a0c92", ("TimelockController",)),
}
"""Function → its selector and every contract of this folder that has it."""

TOPICS: Final = {
    "AppRegistered(address)": "0d540ad8f39e07d19909687352b9fa017405d93c91a6760981fbae9cf28bfef7",
    "AppDeployedViaFactory(address,address)": (
        "fd86d7f6962eba3b7a3bf9129c06c0b2f885e1c61ef2c9f0dbb856be0deefdee"
    ),
    "AppDeployedViaFactory(address,address,address)": (
        "3ad767c8b7c60bfe0c6bb711fb7ea4be06d90bdf29c6114f3e0c4054e03c2543"
    ),
    "AppImplementationSet(address)": (
        "08bb433f12b5fd81d2d5e0deeb3b4d28371781ddbd80e9d053e7468d2b1aa82d"
    ),
    "AppAuthImplementationSet(address)": (
        "72eff6cd08df1c809dd1c76cac29b34c5bceb628ba05c4ec612eca6aae43b67d"
    ),
    "KmsInfoSet(bytes)": "77cdad119a452bbd96c45635758fc4af8a6bde3deaccf3fada634ddf9a162706",
    "GatewayAppIdSet(string)": "5b2b64f770ea5266055ebd3ebf205ef06cbfa738e62684edf0e28356e34acf06",
    "OsImageHashAdded(bytes32)": "4911843506849c85a5ca6e6e2c01eed2d3ab86baba619517a2aad9d5ab2aeff2",
    "OsImageHashRemoved(bytes32)": (
        "99b3cee95daf3138d0c982299cd0264f5b7a61aa629b42b92f3ec8966aa7f6fe"
    ),
    "KmsAggregatedMrAdded(bytes32)": (
        "68615a0b92795750b3d180ff73429e1291d225e449eee954a567b91104fd9837"
    ),
    "KmsAggregatedMrRemoved(bytes32)": (
        "54cd662e41eec7ddf0f32f034b2533e481b471dd3ea978222d609ec8fffb1bb0"
    ),
    "KmsDeviceAdded(bytes32)": "f2b290637b1193e12eb38ab32b986303639b1687cc2cd1e25f993e6eae2f4041",
    "KmsDeviceRemoved(bytes32)": "1a9888a45e3df8b7e6bb3090747d598d2a0d78e61388161a90799f54df8f4434",
    "ComposeHashAdded(bytes32)": "fecb34306dd9d8b785b54d65489d06afc8822a0893ddacedff40c50a4942d0af",
    "ComposeHashRemoved(bytes32)": (
        "755b79bd4b0eeab344d032284a99003b2ddc018b646752ac72d681593a6e8947"
    ),
    "DeviceAdded(bytes32)": "67fc71ab96fe3fa3c6f78e9a00e635d591b7333ce611c0380bc577aac702243b",
    "DeviceRemoved(bytes32)": "e0862975ac517b0478d308012afabc4bc37c23874a18144d7f2dfb852ff95c2c",
    "AllowAnyDeviceSet(bool)": "bb2cdb6c7b362202d40373f87bc4788301cca658f91711ac1662e1ad2cba4a20",
    "RequireTcbUpToDateSet(bool)": (
        "afae60561b2481a349b45b3a47357f70eef6ae67e5b6e1749d74de7f19a25aa1"
    ),
    "UpgradesDisabled()": "0e5daa943fcd7e7182d0e893d180695c2ea9f6f1b4a1c5432faf14cf17b774e8",
    "Upgraded(address)": "bc7cd75a20ee27fd9adebab32041f755214dbc6bffa90cc0225b39da2e5c2d3b",
    "Initialized(uint64)": "c7f505b2f371ae2175ee4913f4499e1f2633a7b5936321eed1cdaeb6115181d2",
    "OwnershipTransferred(address,address)": (
        "8be0079c531659141344cd1fd0a4f28419497f9722a3daafe3b4186f6b6457e0"
    ),
    "ComposeHashProposed(bytes32,uint256)": (
        "2b3ff6b39f4956cfa375c9a4b597368184735cb754b210fd1000453de9950cdc"
    ),
    "ComposeHashActivated(bytes32)": (
        "5e36a46d8be30f7baf6cdf6b16d611fdc8150e8b0c9e1cd83711c0e324f9ddc3"
    ),
    "ComposeHashCancelled(bytes32)": (
        "7bf67ea6551aca0d94f47c8207ab7409f440a4e8471024acea4cd1245437490a"
    ),
    "CallScheduled(bytes32,uint256,address,uint256,bytes,bytes32,uint256)": (
        "4cf4410cc57040e44862ef0f45f3dd5a5e02db8eb8add648d4b0e236f1d07dca"
    ),
    "CallExecuted(bytes32,uint256,address,uint256,bytes)": (
        "c2617efa69bab66782fa219543714338489c4e9e178271560a91b82c3f612b58"
    ),
    "Cancelled(bytes32)": "baa1eb22f2a492ba1a5fea61b8df4d27c6c8b5f3971e63bb58fa14ff72eedb70",
    "MinDelayChange(uint256,uint256)": (
        "11c24f4ead16507c69ac467fbd5e4eed5fb5c699626d2cc6d66421df253886d5"
    ),
    "RoleGranted(bytes32,address,address)": (
        "2f8788117e7eff1d82e926ec794901d17c78024a50270940304540a733656f0d"
    ),
    "RoleRevoked(bytes32,address,address)": (
        "f6391f5c32d9c69d2a47ea670b442974b53935d1edc7fd64eb21e047a839171b"
    ),
    "AddedOwner(address)": "9465fa0c962cc76958e6373a993326400c1c94f8be2fe3a952adfa7f60b2ea26",
    "RemovedOwner(address)": "f8d49fc529812e9a7c5c50e69c20f0dccc0db8fa95c98bc58cc9a4f1c1299eaf",
    "ChangedThreshold(uint256)": "610f7ff2b304ae8903c3de74c60c6ab1f7d6226b3f52c5161905bb5ad4039c93",
    "EnabledModule(address)": "ecdf3a3effea5783a3c4c2140e677577666428d44ed9d474a0b3a4c9943f8440",
    "DisabledModule(address)": "aab4fa2b463f581b2b32cb3b7e3b704b9ce37cc209b5fb4d77e593ace4054276",
    "ExecutionSuccess(bytes32,uint256)": (
        "442e715f626346e8c54381002da614f62bee8d27386535b2521ec8540898556e"
    ),
    "SafeSetup(address,address[],uint256,address,address)": (
        "141df868a6331af528e38c83b7aa03edc19be66e37ae67f9285bf4f8e3c6a1a8"
    ),
    "ChangedGuard(address)": "1151116914515bc0891ff9047a6cb32cf902546f83066499bcf8ba33d2353fa2",
}
"""Event → topic 0."""

KMS_CREATION: Final = (
    "Upgraded(address)",
    "OwnershipTransferred(address,address)",
    "App{auth}ImplementationSet(address)",
    "Initialized(uint64)",
)
APP_CREATION: Final = (
    "Upgraded(address)",
    "DeviceAdded(bytes32)",
    "ComposeHashAdded(bytes32)",
    "OwnershipTransferred(address,address)",
    "Initialized(uint64)",
    "AppRegistered(address)",
)
