"""absent.py LIBRARY DIRECTORY: writes C sources for what LIBRARY is linked with and no current system has.

It was linked with OpenSSL 1.0 and the curl of that time, and expects to be loaded by Python 2. A cluster without TLS makes no use
of them, so the functions only have to exist. For each library that is gone there is `<its name>.c`, with `<its name>.map` for the
versions of its symbols; `python.c` is what the program itself has to have.
"""

import re
import subprocess
import sys
from collections import defaultdict

# The libraries that no package has any more, under these names and with these versions of symbols.
GONE = re.compile(r"lib(ssl|crypto|curl)\.so")
PYTHON = re.compile(r"_?Py")


def readelf(option, library):
    """The lines of one of readelf's tables."""
    return subprocess.run(["readelf", "-W", option, library], check=True, capture_output=True, text=True).stdout.splitlines()


def versions(library):
    """Each number of a needed version, with the library that is to have it and its name there."""
    found, file = {}, None
    for line in readelf("-V", library):
        if match := re.search(r"Version: \d+  File: (\S+)  Cnt:", line):
            file = match[1]
        elif match := re.search(r"Name: (\S+)  Flags: \S+  Version: (\d+)", line):
            found[match[2]] = (file, match[1])
    return found


def missing(library):
    """For each library that is gone, its versions and their symbols; and Python's symbols, which have no version."""
    needed, gone, python = versions(library), defaultdict(lambda: defaultdict(set)), set()
    for line in readelf("--dyn-syms", library):
        if match := re.search(r" UND (\S+?)@(\S+) \((\d+)\)$", line):
            file, version = needed[match[3]]
            if GONE.match(file):
                gone[file][version].add(match[1])
        elif (match := re.search(r" UND (\S+)$", line)) and PYTHON.match(match[1]):
            python.add(match[1])
    return gone, python


def main():
    library, directory = sys.argv[1:]
    gone, python = missing(library)
    for file, by_version in gone.items():
        with open(f"{directory}/{file}.c", "w") as source, open(f"{directory}/{file}.map", "w") as script:
            older = ""
            for version in sorted(by_version):
                names = sorted(by_version[version])
                source.writelines(f"long {name}(void) {{ return 0; }}\n" for name in names)
                script.write(f"{version} {{ global: {'; '.join(names)}; {'' if older else 'local: *;'} }} {older};\n")
                older = version
    with open(f"{directory}/python.c", "w") as source:
        source.write("#include <stdlib.h>\n")
        for name in sorted(python):
            # The objects are only pointed at.
            source.write(f"long {name}[64];\n" if re.search("Exc_|Struct", name) else f"void {name}(void) {{ abort(); }}\n")


main()
