"""Read the fields of a protobuf message without the package protobuf.

`runtime.model.artifact` reads the metadata of an .onnx file with it, and
`runtime.model.external_data` looks for references to other files.
Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

from runtime.errors import ArtifactError

_MAX_VARINT_BYTES = 10  # 64 bits in groups of 7; a longer number is rejected
_MAX_TAG = 2**32 - 1  # protobuf's own parsers drop further bits, so a field could hide in them


def fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield (number, value) of the fields of a protobuf message.

    The value of a length-delimited field is its content, and that of a varint its number. Fields of
    the other wire types are skipped.

    Raises:
        ArtifactError: the message is damaged.
    """
    position = 0

    def varint() -> int:
        nonlocal position
        value = 0
        for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise IndexError

    try:
        while position < len(message):
            tag = varint()
            if tag > _MAX_TAG:
                raise IndexError
            match tag & 7:  # the wire type
                case 0:  # a varint
                    yield tag >> 3, varint()
                case 1:  # 64 bits
                    position += 8
                case 2:  # length-delimited
                    size = varint()
                    if position + size > len(message):
                        raise IndexError
                    yield tag >> 3, message[position : position + size]
                    position += size
                case 5:  # 32 bits
                    position += 4
                case _:
                    raise IndexError
    except IndexError:
        raise ArtifactError("the file is damaged (no protobuf message): export it again") from None


def submessages(message: memoryview, number: int) -> Iterator[memoryview]:
    """Yield the contents of the length-delimited fields with this number.

    Raises:
        ArtifactError: the message is damaged.
    """
    for found, value in fields(message):
        if found == number and isinstance(value, memoryview):
            yield value
