// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.22;

import {OwnableUpgradeable} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {AppBootInfo, IAppAuth, IAppAuthBasicManagement, upToDate} from "./Boot.sol";

/// The allow lists that every generation of an app has: three storage slots in this order.
abstract contract AllowLists is OwnableUpgradeable, UUPSUpgradeable, IAppAuth, IAppAuthBasicManagement {
    mapping(bytes32 => bool) public allowedComposeHashes;
    bool internal _upgradesDisabled;
    bool public allowAnyDevice;
    mapping(bytes32 => bool) public allowedDeviceIds;

    event ComposeHashAdded(bytes32 composeHash);
    event ComposeHashRemoved(bytes32 composeHash);
    event DeviceAdded(bytes32 deviceId);
    event DeviceRemoved(bytes32 deviceId);
    event AllowAnyDeviceSet(bool allowAny);
    event UpgradesDisabled();

    constructor() {
        _disableInitializers();
    }

    /// Both flags are set without an event; the owner is named last.
    function _start(address owner_, bool disable, bool anyDevice, bytes32 device, bytes32 composeHash)
        internal
        onlyInitializing
    {
        require(owner_ != address(0), "Invalid owner address");
        _upgradesDisabled = disable;
        allowAnyDevice = anyDevice;
        if (device != 0) _setDevice(device, true);
        if (composeHash != 0) _setComposeHash(composeHash, true);
        __Ownable_init(owner_);
    }

    function _setComposeHash(bytes32 composeHash, bool allowed) private {
        allowedComposeHashes[composeHash] = allowed;
        if (allowed) emit ComposeHashAdded(composeHash);
        else emit ComposeHashRemoved(composeHash);
    }

    function _setDevice(bytes32 deviceId, bool allowed) private {
        allowedDeviceIds[deviceId] = allowed;
        if (allowed) emit DeviceAdded(deviceId);
        else emit DeviceRemoved(deviceId);
    }

    function addComposeHash(bytes32 composeHash) external onlyOwner {
        _setComposeHash(composeHash, true);
    }

    function removeComposeHash(bytes32 composeHash) external onlyOwner {
        _setComposeHash(composeHash, false);
    }

    function addDevice(bytes32 deviceId) external onlyOwner {
        _setDevice(deviceId, true);
    }

    function removeDevice(bytes32 deviceId) external onlyOwner {
        _setDevice(deviceId, false);
    }

    function setAllowAnyDevice(bool allowAny) external onlyOwner {
        allowAnyDevice = allowAny;
        emit AllowAnyDeviceSet(allowAny);
    }

    function disableUpgrades() external onlyOwner {
        _upgradesDisabled = true;
        emit UpgradesDisabled();
    }

    function supportsInterface(bytes4 id) external pure returns (bool) {
        return id == type(IAppAuth).interfaceId || id == type(IAppAuthBasicManagement).interfaceId
            || id == 0x01ffc9a7;
    }

    function _decide(AppBootInfo calldata boot) internal view returns (bool, string memory) {
        if (!allowedComposeHashes[boot.composeHash]) return (false, "Compose hash not allowed");
        if (!allowAnyDevice && !allowedDeviceIds[boot.deviceId]) return (false, "Device not allowed");
        return (true, "");
    }

    function _authorizeUpgrade(address) internal view override onlyOwner {
        require(!_upgradesDisabled, "Upgrades are permanently disabled");
    }
}

abstract contract AppId {
    address public appId;
}

/// G3: the app id is not the contract's address, and stands in slot 0.
contract AppG3 is AppId, AllowLists {
    function initialize(address owner_, address id, bool disable, bool anyDevice, bytes32 device, bytes32 composeHash)
        external
        initializer
    {
        appId = id;
        _start(owner_, disable, anyDevice, device, composeHash);
    }

    function isAppAllowed(AppBootInfo calldata boot) external view returns (bool, string memory) {
        if (boot.appId != appId) return (false, "Wrong app controller");
        return _decide(boot);
    }
}

/// G5: the app id is the contract's address.
contract AppG5 is AllowLists {
    function initialize(address owner_, bool disable, bool anyDevice, bytes32 device, bytes32 composeHash)
        external
        initializer
    {
        _start(owner_, disable, anyDevice, device, composeHash);
    }

    function isAppAllowed(AppBootInfo calldata boot) external view returns (bool, string memory) {
        return _decide(boot);
    }
}

/// G6: the platform's TCB may be required to be up to date (slot 3).
contract AppG6 is AllowLists {
    bool public requireTcbUpToDate;

    event RequireTcbUpToDateSet(bool requireUpToDate);

    function initialize(address owner_, bool disable, bool anyDevice, bytes32 device, bytes32 composeHash)
        external
        initializer
    {
        _start(owner_, disable, anyDevice, device, composeHash);
    }

    function initialize(
        address owner_,
        bool disable,
        bool requireTcb,
        bool anyDevice,
        bytes32 device,
        bytes32 composeHash
    ) external initializer {
        requireTcbUpToDate = requireTcb;
        _start(owner_, disable, anyDevice, device, composeHash);
    }

    function setRequireTcbUpToDate(bool requireUpToDate) external onlyOwner {
        requireTcbUpToDate = requireUpToDate;
        emit RequireTcbUpToDateSet(requireUpToDate);
    }

    function isAppAllowed(AppBootInfo calldata boot) external view returns (bool, string memory) {
        if (requireTcbUpToDate && !upToDate(boot.tcbStatus)) return (false, "TCB status is not up to date");
        return _decide(boot);
    }

    function version() external pure returns (uint256) {
        return 2;
    }
}

/// Code that nobody knows: it allows everything, and changes the allow list without an event.
contract EvilApp is AllowLists {
    function allowInSilence(bytes32 composeHash, bool allowed) external onlyOwner {
        allowedComposeHashes[composeHash] = allowed;
    }

    function isAppAllowed(AppBootInfo calldata) external pure returns (bool, string memory) {
        return (true, "");
    }
}
