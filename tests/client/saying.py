"""Makes the fake model say what a test wants: text between U+0002 and U+0003 in a chat is its answer."""


def say(text):
    return f"\x02{text}\x03"


PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
