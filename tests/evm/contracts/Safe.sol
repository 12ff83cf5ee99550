// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.22;

/// A multisig with the getters, calls and events of a Safe. Owners agree by approveHash alone:
/// signatures are not read.
abstract contract SafeShape {
    address internal constant FIRST = address(1);
    /// keccak256("guard_manager.guard.address")
    bytes32 private constant GUARD = 0x4a204f620c8c5ccdca3fd54d003badd85ba500436a431f0cbda4f558c93c34c8;

    uint256 public nonce;
    uint256 private threshold;
    address[] private owners;
    address[] private modules;
    mapping(address => mapping(bytes32 => bool)) public approvedHashes;

    event SafeSetup(
        address indexed initiator, address[] owners, uint256 threshold, address initializer, address fallbackHandler
    );
    event ChangedThreshold(uint256 threshold);
    event ApproveHash(bytes32 indexed approvedHash, address indexed owner);

    modifier authorized() {
        require(msg.sender == address(this), "GS031");
        _;
    }

    constructor(address[] memory owners_, uint256 threshold_) {
        require(0 < threshold_ && threshold_ <= owners_.length, "GS201");
        owners = owners_;
        threshold = threshold_;
        emit SafeSetup(msg.sender, owners_, threshold_, address(0), address(0));
    }

    function _addedOwner(address owner) internal virtual;
    function _removedOwner(address owner) internal virtual;
    function _enabledModule(address module) internal virtual;
    function _disabledModule(address module) internal virtual;
    function _changedGuard(address guard) internal virtual;
    function _executed(bytes32 txHash) internal virtual;

    function getThreshold() external view returns (uint256) {
        return threshold;
    }

    function getOwners() external view returns (address[] memory) {
        return owners;
    }

    function getModulesPaginated(address start, uint256 size) external view returns (address[] memory, address) {
        require(start == FIRST && size >= modules.length, "GS105");
        return (modules, FIRST);
    }

    function addOwnerWithThreshold(address owner, uint256 threshold_) external authorized {
        owners.push(owner);
        _addedOwner(owner);
        _changeThreshold(threshold_);
    }

    function removeOwner(address, address owner, uint256 threshold_) external authorized {
        _drop(owners, owner);
        _removedOwner(owner);
        _changeThreshold(threshold_);
    }

    function changeThreshold(uint256 threshold_) external authorized {
        _changeThreshold(threshold_);
    }

    function enableModule(address module) external authorized {
        modules.push(module);
        _enabledModule(module);
    }

    function disableModule(address, address module) external authorized {
        _drop(modules, module);
        _disabledModule(module);
    }

    function setGuard(address guard) external authorized {
        assembly {
            sstore(GUARD, guard)
        }
        _changedGuard(guard);
    }

    function approveHash(bytes32 txHash) external {
        require(_isOwner(msg.sender), "GS030");
        approvedHashes[msg.sender][txHash] = true;
        emit ApproveHash(txHash, msg.sender);
    }

    function txHashOf(address to, bytes calldata data, uint256 nonce_) public view returns (bytes32) {
        return keccak256(abi.encode(address(this), to, data, nonce_));
    }

    /// The arguments between `data` and the signatures stand for gas and refunds, and are ignored.
    function execTransaction(
        address to,
        uint256 value,
        bytes calldata data,
        uint8,
        uint256,
        uint256,
        uint256,
        address,
        address payable,
        bytes calldata
    ) external payable returns (bool) {
        bytes32 txHash = txHashOf(to, data, nonce++);
        uint256 approvals;
        for (uint256 i = 0; i < owners.length; i++) {
            if (approvedHashes[owners[i]][txHash]) approvals++;
        }
        require(approvals >= threshold, "GS020");
        _call(to, value, data);
        _executed(txHash);
        return true;
    }

    /// A module asks no owner.
    function execTransactionFromModule(address to, uint256 value, bytes calldata data, uint8) external returns (bool) {
        bool enabled;
        for (uint256 i = 0; i < modules.length; i++) {
            enabled = enabled || modules[i] == msg.sender;
        }
        require(enabled, "GS104");
        _call(to, value, data);
        return true;
    }

    function _changeThreshold(uint256 threshold_) private {
        require(0 < threshold_ && threshold_ <= owners.length, "GS201");
        if (threshold_ == threshold) return;
        threshold = threshold_;
        emit ChangedThreshold(threshold_);
    }

    function _isOwner(address account) private view returns (bool) {
        for (uint256 i = 0; i < owners.length; i++) {
            if (owners[i] == account) return true;
        }
        return false;
    }

    function _drop(address[] storage list, address member) private {
        for (uint256 i = 0; i < list.length; i++) {
            if (list[i] == member) {
                list[i] = list[list.length - 1];
                list.pop();
                return;
            }
        }
        revert("GS205");
    }

    function _call(address to, uint256 value, bytes calldata data) private {
        (bool success,) = to.call{value: value}(data);
        require(success, "GS013");
    }
}

/// Up to 1.3 nothing is indexed.
contract Safe13 is SafeShape {
    string public constant VERSION = "1.3.0";

    event AddedOwner(address owner);
    event RemovedOwner(address owner);
    event EnabledModule(address module);
    event DisabledModule(address module);
    event ChangedGuard(address guard);
    event ExecutionSuccess(bytes32 txHash, uint256 payment);

    constructor(address[] memory owners_, uint256 threshold_) SafeShape(owners_, threshold_) {}

    function _addedOwner(address owner) internal override {
        emit AddedOwner(owner);
    }

    function _removedOwner(address owner) internal override {
        emit RemovedOwner(owner);
    }

    function _enabledModule(address module) internal override {
        emit EnabledModule(module);
    }

    function _disabledModule(address module) internal override {
        emit DisabledModule(module);
    }

    function _changedGuard(address guard) internal override {
        emit ChangedGuard(guard);
    }

    function _executed(bytes32 txHash) internal override {
        emit ExecutionSuccess(txHash, 0);
    }
}

/// Since 1.4 addresses and the transaction's hash are indexed, under the same topic 0.
contract Safe14 is SafeShape {
    string public constant VERSION = "1.4.1";

    event AddedOwner(address indexed owner);
    event RemovedOwner(address indexed owner);
    event EnabledModule(address indexed module);
    event DisabledModule(address indexed module);
    event ChangedGuard(address indexed guard);
    event ExecutionSuccess(bytes32 indexed txHash, uint256 payment);

    constructor(address[] memory owners_, uint256 threshold_) SafeShape(owners_, threshold_) {}

    function _addedOwner(address owner) internal override {
        emit AddedOwner(owner);
    }

    function _removedOwner(address owner) internal override {
        emit RemovedOwner(owner);
    }

    function _enabledModule(address module) internal override {
        emit EnabledModule(module);
    }

    function _disabledModule(address module) internal override {
        emit DisabledModule(module);
    }

    function _changedGuard(address guard) internal override {
        emit ChangedGuard(guard);
    }

    function _executed(bytes32 txHash) internal override {
        emit ExecutionSuccess(txHash, 0);
    }
}
