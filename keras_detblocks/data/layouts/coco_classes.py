"""Reads COCO's categories: phantom roots, two ids with one name, one id for two classes."""

from ..account import REPAIRED
from ..annotations import note_alike
from ..parse import key

# What exporters write as the parent of a class that has no parent.
_NO_PARENT = (None, "", "none")


def read_classes(categories, annotations, skipped):
    """`(names, ids, labels)`: class names in the order of the ids, the id of each, and the table
    category key -> label, with -1 for an id that two classes share."""
    entries = _entries(categories, skipped)
    entries = _without_root(entries, annotations, skipped)
    shared = _shared_ids(entries, skipped)
    names, ids, labels = [], [], dict.fromkeys(shared, -1)
    for number, name in entries:
        if number in shared:
            continue
        if name in names:
            label = names.index(name)
            skipped.add(
                "classes of one name (joined)", f"{name}: ids {ids[label]} and {number}", REPAIRED
            )
            if _used(ids[label], annotations) == 0:
                ids[label] = number
        else:
            label = len(names)
            names.append(name)
            ids.append(number)
        labels[number] = label
    note_alike(names, skipped)
    return names, ids, labels


def _entries(categories, skipped):
    """`(key, name, parent)` of each category, sorted by key, without repetitions."""
    found = []
    for entry in categories:
        number = key(entry.get("id")) if isinstance(entry, dict) else None
        if number is None:
            skipped.add("category without an id", str(entry)[:160])
            continue
        name = entry.get("name")
        name = str(number if name is None or str(name).strip() == "" else name).strip()
        parent = entry.get("supercategory")
        found.append((number, name, parent if isinstance(parent, str) else None))
    return sorted(found, key=lambda each: (isinstance(each[0], str), each[0]))


def _without_root(entries, annotations, skipped):
    """Drops the project itself, which Roboflow writes as the first class, the parent of all
    others."""
    for number, name, parent in entries:
        others = [each for each in entries if each[0] != number]
        is_root = (
            others
            and parent in _NO_PARENT
            and all(each[2] == name for each in others)
            and _used(number, annotations) == 0
        )
        if is_root:
            reason = "class that is only the parent of all others, without objects (left out)"
            skipped.add(reason, f"{name}, id {number}", REPAIRED)
            return [each[:2] for each in others]
    return [each[:2] for each in entries]


def _shared_ids(entries, skipped):
    """Ids that classes of different names share; a class entered twice is reported and kept."""
    names, shared = {}, set()
    for number, name in entries:
        if number in names and names[number] != name:
            shared.add(number)
            reason = "category id that two classes have (its objects are left out)"
            skipped.add(reason, f"id {number}: {names[number]} and {name}")
        names.setdefault(number, name)
    return shared


def _used(number, annotations):
    return sum(isinstance(a, dict) and a.get("category_id") == number for a in annotations)
