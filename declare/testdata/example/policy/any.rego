package remit.any

deny contains {"rule": "frozen", "text": "Nothing is done while the freeze lasts. Ask an administrator when it ends."} if input.org == "frozen"
