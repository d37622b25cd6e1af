"""A client of the Model Context Protocol, the official SDK's, that does what it is told and says what came back.

    mcp_client.py MODE PROGRAM [ARGUMENT...]

MODE is `legacy` for the handshake of before 2026, or `auto`. Standard input is a JSON list of steps: {"do": "list"},
{"do": "call", "tool": NAME, "arguments": {...}}, {"do": "together", "calls": [...]}, or {"do": "cancel", ...} with what `call`
takes and "after", the seconds after which the caller has had enough. Standard output is one JSON object.
"""

import json
import os
import sys
import tempfile
import time

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client


async def call(client, step):
    begun = time.monotonic()
    try:
        result = await client.call_tool(step["tool"], step.get("arguments"))
        answer = {"result": result.model_dump(mode="json", by_alias=True)}
    except MCPError as error:
        answer = {"error": {"code": error.code, "message": str(error)}}
    return answer | {"seconds": time.monotonic() - begun}


async def together(client, calls):
    answers = [None] * len(calls)

    async def one(index, step):
        answers[index] = await call(client, step)

    async with anyio.create_task_group() as group:
        for index, step in enumerate(calls):
            group.start_soon(one, index, step)
    return answers


async def perform(client, step):
    match step["do"]:
        case "list":
            result = await client.list_tools()
            return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in result.tools]
        case "call":
            return await call(client, step)
        case "together":
            return await together(client, step["calls"])
        case "cancel":
            with anyio.move_on_after(step["after"]) as scope:
                await call(client, step)
            return {"cancelled": scope.cancelled_caught}


async def main():
    mode, program, *arguments = sys.argv[1:]
    steps = json.load(sys.stdin)
    environment = {name: os.environ[name] for name in ("HOME", "PATH", "LC_ALL") if name in os.environ}
    server = StdioServerParameters(command=program, args=arguments, env=environment)
    with tempfile.TemporaryFile("w+") as errors:
        async with Client(stdio_client(server, errlog=errors), mode=mode) as client:
            told = {
                "protocol": client.protocol_version,
                "server": client.server_info.model_dump(mode="json", exclude_none=True),
                "instructions": client.instructions,
                "answers": [await perform(client, step) for step in steps],
            }
        errors.seek(0)
        told["stderr"] = errors.read()
    print(json.dumps(told))


anyio.run(main)
