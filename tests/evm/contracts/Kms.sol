// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.22;

import {OwnableUpgradeable} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {AppBootInfo, IAppAuth, upToDate} from "./Boot.sol";

struct KmsInfo {
    bytes k256Pubkey;
    bytes caPubkey;
    bytes quote;
    bytes eventlog;
}

/// Slots 0 to 4: what the KMS is.
abstract contract Identity is OwnableUpgradeable {
    KmsInfo public kmsInfo;
    string public gatewayAppId;

    event KmsInfoSet(bytes k256Pubkey);
    event GatewayAppIdSet(string gatewayAppId);

    function setKmsInfo(KmsInfo calldata info) external onlyOwner {
        kmsInfo = info;
        emit KmsInfoSet(info.k256Pubkey);
    }

    function setKmsQuote(bytes calldata quote) external onlyOwner {
        kmsInfo.quote = quote;
    }

    function setKmsEventlog(bytes calldata eventlog) external onlyOwner {
        kmsInfo.eventlog = eventlog;
    }

    function setGatewayAppId(string calldata appId) external onlyOwner {
        gatewayAppId = appId;
        emit GatewayAppIdSet(appId);
    }
}

/// Slot 5 of G3: app id → its contract.
abstract contract Controllers {
    struct Controller {
        bool isRegistered;
        address controller;
    }

    mapping(address => Controller) public apps;
}

/// Slot 5 since G5.
abstract contract Registry {
    mapping(address => bool) public registeredApps;
}

/// Slots 6 to 8: which KMS may be given the root key, and which OS images may boot.
abstract contract KmsAllowLists is OwnableUpgradeable, UUPSUpgradeable, IAppAuth {
    mapping(bytes32 => bool) public kmsAllowedAggregatedMrs;
    mapping(bytes32 => bool) public kmsAllowedDeviceIds;
    mapping(bytes32 => bool) public allowedOsImages;

    event AppRegistered(address appId);
    event KmsAggregatedMrAdded(bytes32 mrAggregated);
    event KmsAggregatedMrRemoved(bytes32 mrAggregated);
    event KmsDeviceAdded(bytes32 deviceId);
    event KmsDeviceRemoved(bytes32 deviceId);
    event OsImageHashAdded(bytes32 osImageHash);
    event OsImageHashRemoved(bytes32 osImageHash);

    constructor() {
        _disableInitializers();
    }

    function addKmsAggregatedMr(bytes32 mrAggregated) external onlyOwner {
        kmsAllowedAggregatedMrs[mrAggregated] = true;
        emit KmsAggregatedMrAdded(mrAggregated);
    }

    function removeKmsAggregatedMr(bytes32 mrAggregated) external onlyOwner {
        kmsAllowedAggregatedMrs[mrAggregated] = false;
        emit KmsAggregatedMrRemoved(mrAggregated);
    }

    function addKmsDevice(bytes32 deviceId) external onlyOwner {
        kmsAllowedDeviceIds[deviceId] = true;
        emit KmsDeviceAdded(deviceId);
    }

    function removeKmsDevice(bytes32 deviceId) external onlyOwner {
        kmsAllowedDeviceIds[deviceId] = false;
        emit KmsDeviceRemoved(deviceId);
    }

    function addOsImageHash(bytes32 osImageHash) external onlyOwner {
        allowedOsImages[osImageHash] = true;
        emit OsImageHashAdded(osImageHash);
    }

    function removeOsImageHash(bytes32 osImageHash) external onlyOwner {
        allowedOsImages[osImageHash] = false;
        emit OsImageHashRemoved(osImageHash);
    }

    function isKmsAllowed(AppBootInfo calldata boot) external view returns (bool, string memory) {
        if (!upToDate(boot.tcbStatus)) return (false, "TCB status is not up to date");
        if (!allowedOsImages[boot.osImageHash]) return (false, "OS image is not allowed");
        if (!kmsAllowedAggregatedMrs[boot.mrAggregated]) return (false, "Aggregated MR not allowed");
        if (!kmsAllowedDeviceIds[boot.deviceId]) return (false, "KMS is not allowed to boot on this device");
        return (true, "");
    }

    function supportsInterface(bytes4 id) external pure returns (bool) {
        return id == type(IAppAuth).interfaceId || id == 0x01ffc9a7;
    }

    /// Nothing ever disables the upgrades of a KMS.
    function _authorizeUpgrade(address) internal view override onlyOwner {}
}

contract KmsG3 is Identity, Controllers, KmsAllowLists {
    mapping(address => uint256) public nextAppSequence;
    address public appAuthImplementation;

    event AppAuthImplementationSet(address implementation);
    event AppDeployedViaFactory(address indexed appId, address indexed proxyAddress, address indexed deployer);

    function initialize(address owner_, address implementation) external initializer {
        __Ownable_init(owner_);
        if (implementation != address(0)) _setImplementation(implementation);
    }

    function setAppAuthImplementation(address implementation) external onlyOwner {
        _setImplementation(implementation);
    }

    function _setImplementation(address implementation) private {
        appAuthImplementation = implementation;
        emit AppAuthImplementationSet(implementation);
    }

    function nextAppId() public view returns (address) {
        bytes memory preimage = abi.encodePacked(address(this), msg.sender, nextAppSequence[msg.sender]);
        return address(uint160(uint256(keccak256(preimage))));
    }

    function registerApp(address controller) public {
        require(controller != address(0), "Invalid controller address");
        address appId = nextAppId();
        nextAppSequence[msg.sender]++;
        apps[appId] = Controller(true, controller);
        emit AppRegistered(appId);
    }

    function deployAndRegisterApp(address owner_, bool disable, bool anyDevice, bytes32 device, bytes32 composeHash)
        external
        returns (address appId, address proxyAddress)
    {
        appId = nextAppId();
        bytes memory call = abi.encodeWithSignature(
            "initialize(address,address,bool,bool,bytes32,bytes32)",
            owner_, appId, disable, anyDevice, device, composeHash
        );
        proxyAddress = address(new ERC1967Proxy(appAuthImplementation, call));
        registerApp(proxyAddress);
        emit AppDeployedViaFactory(appId, proxyAddress, msg.sender);
    }

    function isAppAllowed(AppBootInfo calldata boot) external view returns (bool, string memory) {
        if (!apps[boot.appId].isRegistered) return (false, "App not registered");
        if (!allowedOsImages[boot.osImageHash]) return (false, "OS image is not allowed");
        return IAppAuth(apps[boot.appId].controller).isAppAllowed(boot);
    }
}

contract KmsG5 is Identity, Registry, KmsAllowLists {
    address public appImplementation;

    event AppImplementationSet(address implementation);
    event AppDeployedViaFactory(address indexed appId, address indexed deployer);

    function initialize(address owner_, address implementation) external initializer {
        __Ownable_init(owner_);
        if (implementation != address(0)) _setImplementation(implementation);
    }

    function setAppImplementation(address implementation) external onlyOwner {
        require(implementation != address(0), "Invalid implementation address");
        _setImplementation(implementation);
    }

    function _setImplementation(address implementation) private {
        appImplementation = implementation;
        emit AppImplementationSet(implementation);
    }

    /// Anyone may register any address.
    function registerApp(address appId) public {
        require(appId != address(0), "Invalid app ID");
        registeredApps[appId] = true;
        emit AppRegistered(appId);
    }

    function deployAndRegisterApp(address owner_, bool disable, bool anyDevice, bytes32 device, bytes32 composeHash)
        external
        returns (address)
    {
        return _deploy(abi.encodeWithSignature(
            "initialize(address,bool,bool,bytes32,bytes32)", owner_, disable, anyDevice, device, composeHash
        ));
    }

    function _deploy(bytes memory call) internal returns (address appId) {
        appId = address(new ERC1967Proxy(appImplementation, call));
        registerApp(appId);
        emit AppDeployedViaFactory(appId, msg.sender);
    }

    function isAppAllowed(AppBootInfo calldata boot) external view returns (bool, string memory) {
        if (!registeredApps[boot.appId]) return (false, "App not registered");
        if (!allowedOsImages[boot.osImageHash]) return (false, "OS image is not allowed");
        if (boot.appId.code.length == 0) return (false, "App not deployed or invalid address");
        return IAppAuth(boot.appId).isAppAllowed(boot);
    }
}

contract KmsG6 is KmsG5 {
    function deployAndRegisterApp(
        address owner_,
        bool disable,
        bool requireTcb,
        bool anyDevice,
        bytes32 device,
        bytes32 composeHash
    ) external returns (address) {
        return _deploy(abi.encodeWithSignature(
            "initialize(address,bool,bool,bool,bytes32,bytes32)",
            owner_, disable, requireTcb, anyDevice, device, composeHash
        ));
    }
}
