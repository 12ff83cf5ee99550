// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.22;

/// What a KMS reports of a guest that wants keys. The order of the fields is the ABI.
struct AppBootInfo {
    address appId;
    bytes32 composeHash;
    address instanceId;
    bytes32 deviceId;
    bytes32 mrAggregated;
    bytes32 mrSystem;
    bytes32 osImageHash;
    string tcbStatus;
    string[] advisoryIds;
}

interface IAppAuth {
    function isAppAllowed(AppBootInfo calldata boot) external view returns (bool, string memory);
}

interface IAppAuthBasicManagement {
    function addComposeHash(bytes32 composeHash) external;
    function removeComposeHash(bytes32 composeHash) external;
    function addDevice(bytes32 deviceId) external;
    function removeDevice(bytes32 deviceId) external;
}

function upToDate(string calldata tcbStatus) pure returns (bool) {
    return keccak256(bytes(tcbStatus)) == keccak256("UpToDate");
}
