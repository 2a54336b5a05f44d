"""The command `aws` for tests: what it is told goes to boto3, and so to moto; answers are printed as text.

It knows what the scripts in infra/ use of it: operations with texts, lists and the shorthand `Key=Value,...`,
JSON, `--query`, `--output text`, and `wait`.
"""

import json
import re
import sys
from typing import Any

import boto3
import jmespath
from botocore import xform_name
from botocore.exceptions import ClientError


def main(words: list[str]) -> int:
    service, operation, *rest = words
    client = boto3.client({"s3api": "s3"}.get(service, service))  # type: ignore[call-overload]  # any of them
    if operation == "wait":
        operation, *rest = rest
        [(option, values)] = _options(rest).items()
        name = "".join(map(str.capitalize, option.split("-")))
        client.get_waiter(operation.replace("-", "_")).wait(
            **{name: values if name.endswith("s") else values[0]}
        )
        return 0
    method = operation.replace("-", "_")
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method])
    options = _options(rest)
    query = options.pop("query", [""])[0]
    options.pop("output", None)
    wish = _typed(options, model.input_shape.members)
    if operation == "run-instances":  # of which the command starts one
        wish |= {"MinCount": 1, "MaxCount": 1}
    if operation == "create-image":  # moto tags no snapshots there
        wish["TagSpecifications"] = wish["TagSpecifications"][:1]
    try:
        if operation == "describe-stack-resource":  # moto stumbles over resources to which it gave no name
            answer = _resource(client, *wish.values())
        else:
            answer = getattr(client, method)(**wish)
    except ClientError as error:
        print(f"\nAn error occurred: {error}", file=sys.stderr)
        return 254
    print(_text(jmespath.search(query, answer) if query else answer))
    return 0


def _resource(client: Any, stack: str, name: str) -> Any:
    found = client.describe_stack_resources(StackName=stack)["StackResources"]
    [resource] = [each for each in found if each.get("LogicalResourceId") == name]
    return {"StackResourceDetail": resource}


def _options(words: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            found[word[2:]] = values = []
        else:
            values.append(word)
    return found


def _typed(options: dict[str, list[str]], members: Any) -> dict[str, Any]:
    names = {xform_name(name, "-"): name for name in members}
    return {names[option]: _value(values, members[names[option]]) for option, values in options.items()}


def _value(values: list[str], shape: Any) -> Any:
    match shape.type_name:
        case "list" | "structure" if values[0].startswith(("[", "{")):
            return json.loads(values[0])
        case "list":
            if shape.member.type_name == "string" and len(values) == 1:  # `Values=a,b` within a structure
                values = values[0].split(",")
            return [_value([each], shape.member) for each in values]
        case "structure":
            pairs = dict(re.findall(r"(\w+)=((?:[^,=]|,(?!\w+=))*)", values[0]))
            return {name: _value([value], shape.members[name]) for name, value in pairs.items()}
        case "boolean":
            return not values or values[0] == "true"
    return values[0]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\t".join(map(_text, value))
    return str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
