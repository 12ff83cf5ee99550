// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.22;

import {AppBootInfo, IAppAuth} from "./Boot.sol";

/// An app whose manifests are announced first. No proxy, no devices, no transfer of ownership; the
/// terms of the constructor are in no event.
contract TimelockApp is IAppAuth {
    address public owner;
    uint256 public noticePeriod;
    bool public allowAnyDevice;
    mapping(bytes32 => bool) public allowedComposeHashes;
    mapping(bytes32 => uint256) public proposedAt;

    event ComposeHashProposed(bytes32 indexed hash, uint256 activatesAt);
    event ComposeHashActivated(bytes32 indexed hash);
    event ComposeHashCancelled(bytes32 indexed hash);
    event ComposeHashRemoved(bytes32 indexed hash);

    modifier onlyOwner() {
        require(msg.sender == owner, "Not owner");
        _;
    }

    constructor(uint256 noticePeriod_, bool allowAnyDevice_, bytes32 composeHash) {
        owner = msg.sender;
        noticePeriod = noticePeriod_;
        allowAnyDevice = allowAnyDevice_;
        if (composeHash != 0) allowedComposeHashes[composeHash] = true;
    }

    function activatesAt(bytes32 hash) public view returns (uint256) {
        require(proposedAt[hash] != 0, "Not proposed");
        return proposedAt[hash] + noticePeriod;
    }

    function proposeComposeHash(bytes32 hash) external onlyOwner {
        require(!allowedComposeHashes[hash] && proposedAt[hash] == 0, "Already known");
        proposedAt[hash] = block.timestamp;
        emit ComposeHashProposed(hash, block.timestamp + noticePeriod);
    }

    function activateComposeHash(bytes32 hash) external {
        require(block.timestamp >= activatesAt(hash), "Too early");
        delete proposedAt[hash];
        allowedComposeHashes[hash] = true;
        emit ComposeHashActivated(hash);
    }

    function cancelProposal(bytes32 hash) external onlyOwner {
        require(proposedAt[hash] != 0, "Not proposed");
        delete proposedAt[hash];
        emit ComposeHashCancelled(hash);
    }

    function removeComposeHash(bytes32 hash) external onlyOwner {
        allowedComposeHashes[hash] = false;
        emit ComposeHashRemoved(hash);
    }

    function isAppAllowed(AppBootInfo calldata boot) external view returns (bool, string memory) {
        if (!allowedComposeHashes[boot.composeHash]) return (false, "Compose hash not allowed");
        if (!allowAnyDevice) return (false, "Device not allowed");
        return (true, "");
    }
}
