"""Answers what ClusterShell makes of node set expressions.

Reads JSON, one value a line: first {source: {group: expression}} with the
default source under "", then one list of words for each question. Writes one
line for each question: {fold, count, first, digest}, or {error}.
"""

import hashlib
import json
import sys

from ClusterShell.NodeSet import NodeSet
from ClusterShell.NodeUtils import GroupResolver, GroupSource

DEFAULT = "default"


def main():
    groups = json.loads(sys.stdin.readline())
    sources = [GroupSource(name or DEFAULT, table) for name, table in groups.items()]
    resolver = GroupResolver(next(s for s in sources if s.name == DEFAULT))
    for source in sources:
        if source.name != DEFAULT:
            resolver.add_source(source)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), resolver)))


def answer(words, resolver):
    try:
        nodes = NodeSet(resolver=resolver)
        for word in words:
            nodes.update(NodeSet(word, resolver=resolver))
        names = list(nodes)
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        return {"fold": str(nodes), "count": len(nodes), "first": names[:10], "digest": digest}
    except Exception as error:
        return {"error": "%s: %s" % (type(error).__name__, error)}


main()
